// libFuzzer on the engine: whatever bytes a plan is made of, loading and running it ends in an error with a reason or in a run.
// The checksum is made right first, or nothing behind it would ever be reached. Built by tools/dev/fuzz (clang, ASan, UBSan).
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "crc32.h"
#include "plan.h"
#include "plan_format.h"
#include "session.h"

using namespace edgerun;

namespace {

constexpr size_t kMost = size_t{32} << 20;     // bytes of memory a plan may ask for here
constexpr int64_t kTimeoutNs = 200'000'000;

struct Aligned {
  explicit Aligned(size_t bytes) : data(static_cast<char*>(std::aligned_alloc(64, (bytes + 64) / 64 * 64))) {}
  ~Aligned() { std::free(data); }
  char* data;
};

void seal(char* plan, size_t size) {
  if (size < sizeof(format::Header)) return;
  const uint32_t zero = 0, at = offsetof(format::Header, crc);
  uint32_t crc = crc32(plan, at);
  crc = crc32(&zero, 4, crc);
  crc = crc32(plan + sizeof(format::Header), size - sizeof(format::Header), crc);
  std::memcpy(plan + at, &crc, 4);
}

bool modest(const Plan& plan) {
  size_t need = plan.arena_bytes;
  if (need > kMost) return false;
  for (const Step& s : plan.steps) need = std::max(need, s.need.scratch);
  for (const Slot& s : plan.slots)
    if (s.bytes > kMost) return false;
  return need <= kMost;
}

void run(std::shared_ptr<const Plan> plan) {
  std::vector<std::vector<char>> inputs, outputs;
  std::vector<const void*> in;
  std::vector<void*> out;
  size_t total = 0;
  for (const Port& p : plan->inputs) total += plan->slots[p.slot].bytes;
  for (const Port& p : plan->outputs) total += plan->slots[p.slot].bytes;
  if (total > kMost) return;
  for (const Port& p : plan->inputs) inputs.emplace_back(plan->slots[p.slot].bytes + 1, 1);
  for (const Port& p : plan->outputs) outputs.emplace_back(plan->slots[p.slot].bytes + 1);
  for (auto& b : inputs) in.push_back(b.data());
  for (auto& b : outputs) out.push_back(b.data());
  SessionOptions options;
  options.threads = 1;
  options.timeout_ns = kTimeoutNs;
  Session session(std::move(plan), options);
  session.run(in.data(), out.data());
  session.run(in.data(), out.data());  // a second time over what the first one left
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Aligned copy(size);
  std::memcpy(copy.data, data, size);
  seal(copy.data, size);
  try {
    std::unique_ptr<Plan> plan = read_plan(copy.data, size, true);
    if (!modest(*plan)) return 0;
    prepare_plan(*plan);
    if (modest(*plan)) run(std::shared_ptr<const Plan>(std::move(plan)));
  } catch (const PlanError& e) {
    if (!*e.what()) std::abort();  // an error without a reason
  } catch (const std::bad_alloc&) {
  }
  return 0;
}
