#include "guard_buffers.h"

#include <algorithm>

#include "plan.h"

namespace edgerun {
namespace {

size_t segments(size_t bytes) { return (bytes + kSumSegment - 1) / kSumSegment; }

// Follows the plan step by step with the ranges that may hold a sum.
class Tracer {
 public:
  Tracer(const Plan& plan, Buffers* b) : plan_(plan), b_(*b), incoming_(plan.steps.size() + 1) {}

  void trace() {
    for (const Port& p : plan_.inputs) add(plan_.slots[p.slot]);
    for (size_t k = 0; k < plan_.inputs.size(); ++k) held_.push_back(static_cast<int32_t>(k));
    bool reached = true;
    b_.steps.resize(plan_.steps.size());
    for (size_t k = 0; k < plan_.steps.size(); ++k) {
      if (!reached) held_.clear();
      for (int32_t r : incoming_[k]) hold(r);
      const Step& s = plan_.steps[k];
      step(s, &b_.steps[k]);
      if (s.op == Op::branch || s.op == Op::jump) {
        std::vector<int32_t>& there = incoming_[s.target];
        there.insert(there.end(), held_.begin(), held_.end());
      }
      reached = s.op != Op::jump;
    }
    for (const Port& p : plan_.outputs) {  // whatever holds a sum when the run ends, early or not
      List v(b_.watches.size());
      const Slot& slot = plan_.slots[p.slot];
      for (size_t r = 0; r < b_.ranges.size(); ++r)
        if (meets(b_.ranges[r], slot)) b_.watches.push_back({static_cast<int32_t>(r), -1});
      b_.outputs.push_back(v.to(b_.watches.size()));
    }
    forget_unwatched();
  }

 private:
  struct List {
    explicit List(size_t begin) : list{static_cast<uint32_t>(begin), 0} {}
    Buffers::List to(size_t end) {
      list.end = static_cast<uint32_t>(end);
      return list;
    }
    Buffers::List list;
  };

  static bool meets(const Buffers::Range& r, const Slot& s) {
    if (s.place == Place::constant || r.input != (s.place == Place::input)) return false;
    return r.input ? r.offset == s.offset : r.offset < s.offset + s.bytes && s.offset < r.offset + r.bytes;
  }

  int32_t add(const Slot& s) {
    const bool input = s.place == Place::input;
    for (size_t r = 0; r < b_.ranges.size(); ++r)
      if (b_.ranges[r].input == input && b_.ranges[r].offset == s.offset && b_.ranges[r].bytes == s.bytes) return static_cast<int32_t>(r);
    b_.ranges.push_back({s.offset, s.bytes, size_of(s.view.dtype), -1, input, false, 0, 0});
    return static_cast<int32_t>(b_.ranges.size() - 1);
  }

  void hold(int32_t r) {
    if (std::find(held_.begin(), held_.end(), r) == held_.end()) held_.push_back(r);
  }

  void watch(int32_t slot, int32_t operand, uint32_t begin) {
    if (slot < 0) return;
    for (int32_t r : held_) {
      if (!meets(b_.ranges[static_cast<size_t>(r)], plan_.slots[static_cast<size_t>(slot)])) continue;
      const auto known = [r](const Buffers::Watch& w) { return w.range == r; };
      if (std::none_of(b_.watches.begin() + begin, b_.watches.end(), known)) b_.watches.push_back({r, operand});
    }
  }

  void step(const Step& s, Buffers::OfStep* of) {
    List verify(b_.watches.size());
    for (size_t k = 0; k < s.in.size(); ++k) watch(s.in[k], static_cast<int32_t>(k), verify.list.begin);
    if (s.op == Op::exit) watch(static_cast<int32_t>(plan_.exits[s.target].slot), -1, verify.list.begin);
    of->verify = verify.to(b_.watches.size());
    List drop(b_.ranges_of.size());
    for (int32_t o : s.out) {
      const Slot& slot = plan_.slots[static_cast<size_t>(o)];
      const auto gone = std::stable_partition(held_.begin(), held_.end(), [&](int32_t r) { return !meets(b_.ranges[static_cast<size_t>(r)], slot); });
      b_.ranges_of.insert(b_.ranges_of.end(), gone, held_.end());
      held_.erase(gone, held_.end());
    }
    of->drop = drop.to(b_.ranges_of.size());
    List form(b_.ranges_of.size());
    for (int32_t o : s.out) {
      const Slot& slot = plan_.slots[static_cast<size_t>(o)];
      if (!(s.guards & kGuardBuffers) || slot.bytes == 0) continue;
      const int32_t r = add(slot);
      b_.ranges_of.push_back(r);
      hold(r);
    }
    of->form = form.to(b_.ranges_of.size());
  }

  void forget_unwatched() {  // a sum that nobody compares is not formed
    std::vector<bool> used(b_.ranges.size());
    size_t total = 0, most = 0;
    for (const Buffers::Watch& w : b_.watches) used[static_cast<size_t>(w.range)] = true;
    for (Buffers::OfStep& of : b_.steps) {
      const auto begin = b_.ranges_of.begin();
      const auto end = std::remove_if(begin + of.form.begin, begin + of.form.end, [&](int32_t r) { return !used[static_cast<size_t>(r)]; });
      of.form.end = static_cast<uint32_t>(end - begin);
    }
    for (size_t r = 0; r < b_.ranges.size(); ++r) {
      Buffers::Range& range = b_.ranges[r];
      range.sums_at = total;
      range.sums = used[r] ? 2 * segments(range.bytes) : 0;
      total += range.sums;
      most = std::max(most, range.sums);
    }
    b_.sums.resize(total);
    b_.found.resize(most);
  }

  const Plan& plan_;
  Buffers& b_;
  std::vector<std::vector<int32_t>> incoming_;
  std::vector<int32_t> held_;
};

}  // namespace

Buffers::Buffers(const Plan& plan) {
  const auto guarded = [](const Step& s) { return (s.guards & kGuardBuffers) != 0; };
  if (std::any_of(plan.steps.begin(), plan.steps.end(), guarded)) Tracer(plan, this).trace();
}

}  // namespace edgerun
