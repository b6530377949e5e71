#include "guard_buffers.h"

#include <algorithm>

#include "plan.h"

namespace edgerun {
namespace {

size_t segments(size_t bytes) { return (bytes + kSumSegment - 1) / kSumSegment; }

// Follows the plan step by step with the ranges that may hold a sum.
class Tracer {
 public:
  Tracer(const Plan& plan, Buffers* b) : plan_(plan), b_(*b), incoming_(plan.steps.size() + 1), last_(plan.steps.size()) {}

  void trace() {
    for (const Port& p : plan_.inputs) held_.push_back(range(plan_.slots[p.slot]));
    b_.steps.resize(plan_.steps.size());
    bool reached = true;
    for (size_t k = 0; k < plan_.steps.size(); ++k) {
      if (!reached) held_.clear();
      for (int32_t r : incoming_[k]) hold(r);
      const Step& s = plan_.steps[k];
      step(s, static_cast<int32_t>(k), &b_.steps[k]);
      if (s.op == Op::branch || s.op == Op::jump) {
        std::vector<int32_t>& there = incoming_[s.target];
        there.insert(there.end(), held_.begin(), held_.end());
      }
      reached = s.op != Op::jump;
    }
    for (size_t r = 0; r < b_.ranges.size(); ++r) settle(static_cast<int32_t>(r), -1);
    for (size_t k = 0; k < last_.size(); ++k) b_.steps[k].last = list(last_[k]);
    for (const Port& p : plan_.outputs) {  // whatever holds a sum when the run ends, early or not
      std::vector<int32_t> all;
      for (size_t r = 0; r < b_.ranges.size(); ++r)
        if (meets(b_.ranges[r], plan_.slots[p.slot])) all.push_back(static_cast<int32_t>(r));
      b_.outputs.push_back(list(all));
      for (int32_t r : all) used_[static_cast<size_t>(r)] = true;
    }
    room();
  }

 private:
  static bool meets(const Buffers::Range& r, const Slot& s) {
    if (s.place == Place::constant || r.input != (s.place == Place::input)) return false;
    return r.input ? r.offset == s.offset : r.offset < s.offset + s.bytes && s.offset < r.offset + r.bytes;
  }

  int32_t range(const Slot& s) {
    const bool input = s.place == Place::input;
    for (size_t r = 0; r < b_.ranges.size(); ++r)
      if (b_.ranges[r].input == input && b_.ranges[r].offset == s.offset && b_.ranges[r].bytes == s.bytes) return static_cast<int32_t>(r);
    b_.ranges.push_back({s.offset, s.bytes, size_of(s.view.dtype), -1, -1, input, false, false, 0, 0});
    used_.push_back(false);
    return static_cast<int32_t>(b_.ranges.size() - 1);
  }

  void hold(int32_t r) {
    if (std::find(held_.begin(), held_.end(), r) == held_.end()) held_.push_back(r);
  }

  Buffers::List list(const std::vector<int32_t>& of) {
    const auto begin = static_cast<uint32_t>(b_.ranges_of.size());
    b_.ranges_of.insert(b_.ranges_of.end(), of.begin(), of.end());
    return {begin, static_cast<uint32_t>(b_.ranges_of.size())};
  }

  std::vector<int32_t> held_that_meet(const std::vector<int32_t>& slots) const {
    std::vector<int32_t> all;
    for (int32_t r : held_)
      if (std::any_of(slots.begin(), slots.end(), [&](int32_t s) {
            return s >= 0 && meets(b_.ranges[static_cast<size_t>(r)], plan_.slots[static_cast<size_t>(s)]);
          }))
        all.push_back(r);
    return all;
  }

  void step(const Step& s, int32_t index, Buffers::OfStep* of) {
    std::vector<int32_t> slots = s.in;
    if (s.op == Op::exit) slots.push_back(static_cast<int32_t>(plan_.exits[s.target].slot));
    const std::vector<int32_t> read = held_that_meet(slots), drop = held_that_meet(s.out);
    for (int32_t r : read) {
      b_.ranges[static_cast<size_t>(r)].reader = index;
      used_[static_cast<size_t>(r)] = true;
    }
    for (int32_t r : drop) {
      settle(r, index);
      held_.erase(std::find(held_.begin(), held_.end(), r));
    }
    std::vector<int32_t> form;
    for (int32_t o : s.out) {
      const Slot& slot = plan_.slots[static_cast<size_t>(o)];
      if (!(s.guards & kGuardBuffers) || slot.bytes == 0) continue;
      form.push_back(range(slot));
      hold(form.back());
    }
    of->read = list(read);
    of->drop = list(drop);
    of->form = list(form);
  }

  // What the range holds will not be read again: it is dropped at `step`. Its last reader is known now.
  void settle(int32_t r, int32_t step) {
    int32_t& reader = b_.ranges[static_cast<size_t>(r)].reader;
    if (reader >= 0 && reader != step) last_[static_cast<size_t>(reader)].push_back(r);
    reader = -1;
  }

  void room() {  // a sum that nobody compares is not formed
    size_t total = 0, most = 0;
    for (Buffers::OfStep& of : b_.steps) {
      const auto begin = b_.ranges_of.begin();
      const auto end = std::remove_if(begin + of.form.begin, begin + of.form.end, [&](int32_t r) { return !used_[static_cast<size_t>(r)]; });
      of.form.end = static_cast<uint32_t>(end - begin);
    }
    for (size_t r = 0; r < b_.ranges.size(); ++r) {
      Buffers::Range& range = b_.ranges[r];
      range.sums_at = total;
      range.sums = used_[r] ? 2 * segments(range.bytes) : 0;
      total += range.sums;
      most = std::max(most, range.sums);
    }
    for (const Buffers::OfStep& of : b_.steps) {
      size_t found = 0;
      for (uint32_t k = of.last.begin; k < of.last.end; ++k) found += b_.ranges[static_cast<size_t>(b_.ranges_of[k])].sums;
      most = std::max(most, found);
      b_.most_items = std::max<size_t>(b_.most_items, of.form.end - of.form.begin + of.last.end - of.last.begin);
    }
    b_.sums.resize(total);
    b_.found.resize(most);
  }

  const Plan& plan_;
  Buffers& b_;
  std::vector<std::vector<int32_t>> incoming_, last_;
  std::vector<int32_t> held_;
  std::vector<bool> used_;  // by range: read, or an output
};

}  // namespace

Buffers::Buffers(const Plan& plan) {
  const auto guarded = [](const Step& s) { return (s.guards & kGuardBuffers) != 0; };
  if (std::any_of(plan.steps.begin(), plan.steps.end(), guarded)) Tracer(plan, this).trace();
}

}  // namespace edgerun
