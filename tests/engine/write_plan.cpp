// Writes a small plan to the file named by the first argument: input for the C example's test.
#include <cstdio>

#include "plan_builder.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto plan = edgerun::test::relu_chain(16, 3).bytes();
  std::FILE* file = std::fopen(argv[1], "wb");
  if (!file) return 1;
  const bool ok = std::fwrite(plan.data(), 1, plan.size(), file) == plan.size();
  return std::fclose(file) == 0 && ok ? 0 : 1;
}
