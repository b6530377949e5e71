// Which instruction set is chosen. tests/engine/CMakeLists.txt runs this file on CPUs of several generations under qemu.
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "kernel.h"

using namespace edgerun;

TEST_CASE("EDGERUN_ISA forces an instruction set; without it the best one is used") {
  const KernelTable* tables[8];
  const int32_t count = supported_tables(tables, 8);
  REQUIRE(count >= 1);
  const KernelTable* expected = tables[0];
  if (const char* wanted = std::getenv("EDGERUN_ISA"))
    for (int32_t k = 0; k < count; ++k)
      if (!std::strcmp(tables[k]->isa, wanted)) expected = tables[k];
  CHECK(std::string(kernels().isa) == expected->isa);
}

TEST_CASE("the instruction set is the one this CPU is known to have") {
  const char* known = std::getenv("EDGERUN_TEST_ISA");
  if (known) CHECK(std::string(kernels().isa) == known);
  else MESSAGE("EDGERUN_TEST_ISA is not set: nothing is known of this CPU");
}

TEST_CASE("every instruction set has the same kernels") {
  const KernelTable* tables[8];
  const int32_t count = supported_tables(tables, 8);
  for (int32_t k = 1; k < count; ++k) {
    REQUIRE(tables[k]->count == tables[0]->count);
    for (int32_t i = 0; i < tables[0]->count; ++i) CHECK(std::string(tables[k]->kernels[i]->name) == tables[0]->kernels[i]->name);
  }
}
