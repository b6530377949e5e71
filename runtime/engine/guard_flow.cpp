#include "guard_flow.h"

#include <algorithm>

#include "plan.h"

namespace edgerun {

uint64_t Flow::number(size_t step) {  // spread out, so that neighbours have nothing in common
  uint64_t v = (static_cast<uint64_t>(step) + 1) * 0xBF58476D1CE4E5B9u;
  v = (v ^ v >> 31) * 0x94D049BB133111EBu;
  return v ^ v >> 30;
}

Flow::Flow(const Plan& plan) : prefix_{0}, power_{1} {
  for (size_t k = 0; k < plan.steps.size(); ++k) {
    const Step& s = plan.steps[k];
    const auto units = is_kernel(s.op) ? static_cast<uint64_t>(s.need.units) : 0;
    prefix_.push_back(prefix_.back() * kBase + number(k) + units * kUnit);
    power_.push_back(power_.back() * kBase);
  }
}

// Steps [from_, end) one after another. Where that goes backwards something else has happened.
uint64_t Flow::reach(size_t end) const {
  if (end < from_ || end >= prefix_.size()) return ~seen_;
  return (expected_ - prefix_[from_]) * power_[end - from_] + prefix_[end];
}

void Flow::went(size_t at, size_t next) {
  expected_ = reach(at + 1);
  from_ = std::min(next, prefix_.size() - 1);
}

bool Flow::holds(size_t end) {
  const bool same = reach(end) == seen_;
  expected_ = seen_;
  from_ = std::min(end, prefix_.size() - 1);
  return same;
}

}  // namespace edgerun
