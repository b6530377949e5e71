// Reaction::restrict: a fault that stays cannot be computed away, so values that it made are cut off at the range that calibration
// saw (range restriction as a correction: Ranger, Chen et al., DSN 2021). The answer may still be wrong, but what a flipped exponent does
// to a network is mostly undone. Only steps with a finding come here; clean runs and their bits are left alone.
#include <algorithm>
#include <cmath>

#include "session.h"

namespace edgerun {

// Elements below, above and NaN (as 0, or what is nearest to it). True when there were any.
bool Session::cut_off(const TensorView& view, const float* range) {
  const float low = range[0], high = range[1], none = std::min(std::max(0.f, low), high);
  float* y = view.as<float>();
  bool any = false;
  for (int64_t k = 0; k < view.elements(); ++k) {
    if (y[k] >= low && y[k] <= high) continue;
    y[k] = std::isnan(y[k]) ? none : y[k] < low ? low : high;
    any = true;
  }
  return any;
}

// The findings at hand: an operand that is out of range is cut off and the step computed again, else its result is. False where no
// range is known, or nothing was out of it: what is wrong is within, and no better value is known.
bool Session::restrict_values(size_t at) {
  uint32_t flags = 0;
  for (size_t k = std::min<uint64_t>(settled_, findings_.size()); k < findings_.size(); ++k)
    if (findings_[k].step == static_cast<int32_t>(at)) flags |= findings_[k].flags;
  const LiveStep& step = steps_[at];
  if (step.op != Op::kernel || !(flags & kOfTheStep)) return false;  // what was altered elsewhere is not mended by its results
  if (flags & kRange) {
    const Slot& operand = plan_->slots[static_cast<size_t>(plan_->steps[at].in[0])];
    const float* range = nullptr;
    for (size_t k = 0; k < at; ++k)  // the last one before it that wrote there
      for (int32_t o : plan_->steps[k].out) {
        const Slot& slot = plan_->slots[static_cast<size_t>(o)];
        if (slot.place == Place::arena && operand.place == Place::arena && slot.offset == operand.offset && slot.bytes == operand.bytes)
          range = o == plan_->steps[k].out[0] ? steps_[k].restrict_to : nullptr;
      }
    if (!step.repeatable || !range || step.call.in[0].dtype != DType::f32 || !cut_off(step.call.in[0], range)) return false;
    for (Buffers::Range& r : buffers_.ranges)
      if (!r.input && r.valid && r.offset == operand.offset) {
        const SumItem item{arena_.data() + r.offset, r.bytes, &buffers_.sums[r.sums_at]};
        sum(&item, 1);
      }
    return clean_again(at, armed_);
  }
  if (!step.restrict_to || !cut_off(step.call.out[0], step.restrict_to)) return false;
  if (buffers_.any()) settle_buffers(at);
  return true;
}

}  // namespace edgerun
