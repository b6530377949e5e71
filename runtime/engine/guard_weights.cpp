#include "guard_weights.h"

#include <algorithm>

#include "integrity/crc32c.h"
#include "integrity/word_sum.h"
#include "plan.h"

namespace edgerun {
namespace {

constexpr size_t round_up(size_t n) { return (n + kCacheLine - 1) / kCacheLine * kCacheLine; }

// The step's own bytes of Plan::prepared: parameters, then packed constants, one after the other.
size_t prepared_bytes(const Step& s) { return s.packed_at - s.params_at + round_up(s.need.packed); }

void add(std::vector<SumBlock>& blocks, const char* at, size_t bytes, int32_t step, int32_t* index) {
  for (size_t done = 0; done < bytes; done += kSumBlock) {
    const auto n = static_cast<uint32_t>(std::min(bytes - done, kSumBlock));
    blocks.push_back({at + done, n, crc32c(at + done, n), step, (*index)++});
  }
}

// The blocks of a step: a contiguous part of Plan::sums.
struct Blocks {
  const SumBlock *begin, *end;
  Blocks(const Plan& plan, size_t step) {
    const auto less = [](const SumBlock& b, int32_t k) { return b.step < k; };
    const SumBlock* all = plan.sums.data();
    begin = std::lower_bound(all, all + plan.sums.size(), static_cast<int32_t>(step), less);
    end = std::lower_bound(begin, all + plan.sums.size(), static_cast<int32_t>(step) + 1, less);
  }
  bool hold() const { return std::all_of(begin, end, [](const SumBlock& b) { return b.holds(); }); }
};

bool within(const char* at, const char* begin, size_t bytes) { return at >= begin && at < begin + bytes; }

// Whether the constants that the step reads hold, whichever step their blocks belong to.
bool constants_hold(const Plan& plan, const Step& s) {
  for (int32_t k : s.in) {
    if (k < 0 || plan.slots[static_cast<size_t>(k)].place != Place::constant) continue;
    const Slot& slot = plan.slots[static_cast<size_t>(k)];
    for (const SumBlock& b : plan.sums)
      if (within(b.at, slot.view.as<const char>(), slot.bytes) && !b.holds()) return false;
  }
  return true;
}

GuideSum guide_of(const Plan& plan, size_t step) {
  static const WordSum word_sum = word_sum_of(kernels());
  const Step& s = plan.steps[step];
  GuideSum found{};
  word_sum(plan.prepared.data() + s.params_at, s.packed_at - s.params_at + s.need.table, found.sums);
  if (!s.need.audit_table) return found;
  GuideSum more{};
  word_sum(plan.prepared.data() + s.packed_at + s.need.audit_table_at, s.need.audit_table, more.sums);
  for (int k = 0; k < 2; ++k) found.sums[k] = 3 * found.sums[k] + more.sums[k];
  return found;
}

// What was prepared holds by its CRCs, so a sum that differs is what was damaged.
Repair with_guide(const Plan& plan, size_t step, Repair r) {
  if (!plan.guides || guide_holds(plan, step)) return r;
  const GuideSum again = guide_of(plan, step);
  give_back(reinterpret_cast<char*>(&plan.guides[step]), reinterpret_cast<const char*>(&again), sizeof again);
  return Repair::restored;
}

}  // namespace

std::unique_ptr<GuideSum[]> guide_sums(const Plan& plan) {
  std::unique_ptr<GuideSum[]> all(new GuideSum[plan.steps.size()]());
  for (size_t k = 0; k < plan.steps.size(); ++k)
    if (is_kernel(plan.steps[k].op)) all[k] = guide_of(plan, k);
  return all;
}

bool guide_holds(const Plan& plan, size_t step) {
  const GuideSum is = guide_of(plan, step), &was = plan.guides[step];
  return ((is.sums[0] ^ was.sums[0]) | (is.sums[1] ^ was.sums[1])) == 0;
}

__attribute__((no_sanitize("thread"))) void give_back(char* to, const char* right, size_t bytes) {
  volatile char* at = to;  // not memcpy, which ThreadSanitizer follows
  for (size_t k = 0; k < bytes; ++k)
    if (at[k] != right[k]) at[k] = right[k];
}

bool SumBlock::holds() const { return crc32c(at, bytes) == crc; }

std::vector<SumBlock> sum_blocks(const Plan& plan) {
  std::vector<SumBlock> blocks;
  std::vector<const void*> known;
  for (size_t k = 0; k < plan.steps.size(); ++k) {
    const Step& s = plan.steps[k];
    if (!is_kernel(s.op)) continue;
    int32_t index = 0;
    add(blocks, plan.prepared.data() + s.params_at, prepared_bytes(s), static_cast<int32_t>(k), &index);
    for (int32_t i : s.in) {
      if (i < 0 || plan.slots[static_cast<size_t>(i)].place != Place::constant) continue;
      const Slot& slot = plan.slots[static_cast<size_t>(i)];
      if (std::find(known.begin(), known.end(), slot.view.data) != known.end()) continue;
      known.push_back(slot.view.data);
      add(blocks, slot.view.as<const char>(), slot.bytes, static_cast<int32_t>(k), &index);
    }
  }
  return blocks;
}

Repair restore_prepared(const Plan& plan, size_t step) {
  const Step& s = plan.steps[step];
  const Blocks blocks(plan, step);
  if (!is_kernel(s.op)) return Repair::sound;
  if (blocks.hold()) return with_guide(plan, step, Repair::sound);
  if (!constants_hold(plan, s)) return Repair::source_lost;
  const size_t bytes = prepared_bytes(s);
  const Block again(bytes);
  prepare_step(plan, step, again.data(), again.data() + (s.packed_at - s.params_at));
  char* to = plan.prepared.data() + s.params_at;
  for (const SumBlock* b = blocks.begin; b < blocks.end; ++b) {
    if (!within(b->at, to, bytes) || b->holds()) continue;
    const char* from = again.data() + (b->at - to);
    if (crc32c(from, b->bytes) != b->crc) return Repair::source_lost;
    give_back(to + (b->at - to), from, b->bytes);
  }
  return blocks.hold() ? with_guide(plan, step, Repair::restored) : Repair::source_lost;
}

Repair restore_constants(const Plan& plan, size_t step, const void* copy, size_t bytes) {
  if (!plan.writable) return Repair::source_lost;
  const std::unique_ptr<Plan> other = read_plan(copy, bytes, true);
  if (other->slots.size() != plan.slots.size() || other->steps.size() != plan.steps.size())
    throw PlanError("the copy is of another plan: it has " + std::to_string(other->slots.size()) + " slots, expected " +
                    std::to_string(plan.slots.size()));
  for (int32_t k : plan.steps[step].in) {
    if (k < 0 || plan.slots[static_cast<size_t>(k)].place != Place::constant) continue;
    const Slot &slot = plan.slots[static_cast<size_t>(k)], &same = other->slots[static_cast<size_t>(k)];
    if (same.place != Place::constant || same.bytes != slot.bytes) throw PlanError("the copy is of another plan: constant '" + slot.name + "' differs");
    for (const SumBlock& b : plan.sums) {
      char* to = slot.view.as<char>();
      if (!within(b.at, to, slot.bytes) || b.holds()) continue;
      const char* from = same.view.as<const char>() + (b.at - to);
      if (crc32c(from, b.bytes) != b.crc) return Repair::source_lost;
      give_back(to + (b.at - to), from, b.bytes);
    }
  }
  const Repair r = restore_prepared(plan, step);
  return r == Repair::sound ? Repair::restored : r;
}

}  // namespace edgerun
