// Which steps a run did, in which order and how much of each: a signature formed where the work is done, compared at every exit
// and at the end with what the plan says (control-flow checking by signatures; Oh, Shirvani, McCluskey, IEEE Trans. Rel. 2002).
//
// The signature is a polynomial in the numbers of steps, seen = seen * kBase + number(step, units done) mod 2^64, so a skipped,
// repeated or swapped step and a missing unit change it. What is expected comes from tables of their own over the whole plan; where
// the plan branches it is carried along the path that the condition asks for, read again from its slot.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgerun {

struct Plan;

class Flow {
 public:
  Flow() = default;
  explicit Flow(const Plan&);

  void begin() {
    seen_ = expected_ = 0;
    from_ = 0;
    steps_ = 0;
  }
  // A step was done; `number`: its own, kept with what is executed.
  void did(uint64_t number, int64_t units) {
    before_ = seen_;
    seen_ = seen_ * kBase + number + static_cast<uint64_t>(units) * kUnit;
    ++steps_;
  }
  // The step that was done last is done again.
  void undo() {
    seen_ = before_;
    --steps_;
  }
  // From step `at`, a branch or jump that was done, the plan goes on with `next`.
  void went(size_t at, size_t next);
  // Whether all steps before `end` were done as the plan says; if not, it goes on from here as if they had been.
  bool holds(size_t end);
  // How many steps were done.
  int64_t steps() const { return steps_; }

  static uint64_t number(size_t step);

 private:
  static constexpr uint64_t kBase = 0x9E3779B97F4A7C15u, kUnit = 0xD6E8FEB86659FD93u;
  uint64_t reach(size_t end) const;

  std::vector<uint64_t> prefix_, power_;  // signature of steps [0, k); kBase^k
  uint64_t seen_ = 0, before_ = 0, expected_ = 0;  // expected_: before step from_
  size_t from_ = 0;
  int64_t steps_ = 0;
};

}  // namespace edgerun
