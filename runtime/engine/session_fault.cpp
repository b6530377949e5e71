// Fault injection: memory is struck when the fault is armed, everything else by the armed form of the loop.
#include <algorithm>
#include <cstring>

#include "session.h"

namespace edgerun {
namespace {

constexpr const char* kNames[kSites] = {"result",    "accumulator", "rescaled", "buffer", "input", "weights", "params",
                                        "constants", "skip",        "repeat",   "swap",   "stop",  "jump", "checksum"};

bool in_kernel(Site s) { return s <= Site::rescaled; }
bool in_memory(Site s) { return s == Site::weights || s == Site::params || s == Site::constants; }
bool in_order(Site s) { return s >= Site::skip && s <= Site::jump; }
bool in_bytes(Site s) { return s >= Site::buffer && !in_order(s); }

// Results of float kernels are flipped, those of int8 products struck as the fault says.
bool only_flips(const Step& s) { return s.kernel_name.compare(0, 7, "qconv2d") != 0 && s.kernel_name.compare(0, 7, "qmatmul") != 0; }

}  // namespace

const char* name_of(Site s) { return kNames[static_cast<size_t>(s)]; }

SiteSizes Session::sites(size_t index) const {
  SiteSizes sizes;
  const Step& s = plan_->steps[index];
  sizes[Site::skip] = sizes[Site::repeat] = 1;
  sizes[Site::swap] = index + 1 < plan_->steps.size();
  sizes[Site::jump] = static_cast<int64_t>(plan_->steps.size()) + 1;
  for (int32_t k : s.in) {
    if (k < 0) continue;
    const Slot& slot = plan_->slots[static_cast<size_t>(k)];
    sizes[slot.place == Place::constant ? Site::constants : Site::input] += static_cast<int64_t>(slot.bytes);
  }
  if (!is_kernel(s.op)) return sizes;
  for (int32_t k : s.out) sizes[Site::buffer] += static_cast<int64_t>(plan_->slots[static_cast<size_t>(k)].bytes);
  sizes[Site::result] = sizes[Site::accumulator] = sizes[Site::rescaled] = plan_->slots[static_cast<size_t>(s.out[0])].view.elements();
  sizes[Site::weights] = static_cast<int64_t>(s.need.packed);
  sizes[Site::params] = static_cast<int64_t>(s.need.params);
  sizes[Site::stop] = s.need.units - 1;
  sizes[Site::checksum] = crc_bytes(index);
  if (!buffers_.any()) return sizes;
  const Buffers::List form = buffers_.steps[index].form;
  for (uint32_t k = form.begin; k < form.end; ++k)
    sizes[Site::checksum] += static_cast<int64_t>(sizeof(uint64_t) * buffers_.ranges[static_cast<size_t>(buffers_.ranges_of[k])].sums);
  return sizes;
}

std::string Session::arm(const FaultSpec& f) {
  const std::string who = "fault injection: ", site = name_of(f.site);
  const auto count = static_cast<int64_t>(steps_.size());
  if (f.step < 0 || f.step >= count)
    return who + "step: expected 0 to " + std::to_string(count - 1) + ", found " + std::to_string(f.step);
  const std::string where = site + " of step " + std::to_string(f.step);
  const int64_t size = sites(static_cast<size_t>(f.step))[f.site];
  if (size <= 0) return who + where + " (" + plan_->steps[static_cast<size_t>(f.step)].kernel_name + "): there is none";
  const int64_t most = in_bytes(f.site) ? size - mask_bytes(f.mask) : size - 1;
  if (f.index < 0 || f.index > most)
    return who + where + ": index: expected 0 to " + std::to_string(most) + ", found " + std::to_string(f.index);
  if (f.mask == 0 || (in_kernel(f.site) && f.mask > UINT32_MAX))
    return who + where + ": mask: expected some of " + (in_kernel(f.site) ? "32" : "64") + " bits, found " + std::to_string(f.mask);
  if (f.runs < 1) return who + where + ": runs: expected at least 1, found " + std::to_string(f.runs);
  const bool aimed = f.site == Site::result && f.mode != Fault::Mode::flip && only_flips(plan_->steps[static_cast<size_t>(f.step)]);
  if (aimed && size_of(steps_[static_cast<size_t>(f.step)].call.out[0].dtype) != 4)
    return who + where + ": mode: expected flip for results that are not of 32 bits; use a buffer fault to set or clear bits";
  if (f.site == Site::constants && !plan_->writable)
    return who + where + ": the plan lies in memory that must not be written; copy it first";
  spec_ = f;
  fault_runs_ = f.runs;
  fault_phase_ = 0;
  fault_spent_ = false;
  if (in_memory(f.site) || (f.site == Site::checksum && f.index < crc_bytes(static_cast<size_t>(f.step)))) {
    strike_memory();
    fault_runs_ = 0;
  } else if (f.site == Site::input) {
    const Step& s = plan_->steps[static_cast<size_t>(f.step)];
    const Target t = target(s.in, steps_[static_cast<size_t>(f.step)].call.in, false);
    const Slot& slot = plan_->slots[static_cast<size_t>(s.in[static_cast<size_t>(t.operand)])];
    if (slot.place == Place::input) struck_input_.resize(plan_->slots[plan_->inputs[static_cast<size_t>(slot.offset)].slot].bytes);
  } else if (aimed) {
    original_.resize(static_cast<size_t>(sites(static_cast<size_t>(f.step))[Site::buffer]));
  }
  armed_ = fault_runs_ > 0 || capture_step_ >= 0;
  return {};
}

void Session::strike_memory() {
  const Step& s = plan_->steps[static_cast<size_t>(spec_.step)];
  Target t{plan_->prepared.data() + (spec_.site == Site::weights ? s.packed_at : s.params_at) + spec_.index, spec_.mask, -1};
  if (spec_.site == Site::checksum) t = crc_target();
  if (spec_.site == Site::constants) t = target(s.in, steps_[static_cast<size_t>(spec_.step)].call.in, true);
  struck_.push_back({t.at, {t.at, t.at + mask_bytes(t.mask)}});
  strike_bytes(t.at, t.mask, spec_.mode);
}

int64_t Session::crc_bytes(size_t index) const {
  int64_t bytes = 0;
  for (const SumBlock& b : plan_->sums) bytes += b.step == static_cast<int32_t>(index) ? sizeof b.crc : 0;
  return bytes + (plan_->guides && is_kernel(plan_->steps[index].op) ? static_cast<int64_t>(sizeof(GuideSum)) : 0);
}

Session::Target Session::crc_target() const {
  int64_t at = spec_.index;
  for (const SumBlock& b : plan_->sums) {
    if (b.step != spec_.step) continue;
    if (at < 4) {
      char* crc = reinterpret_cast<char*>(const_cast<uint32_t*>(&b.crc));
      return {crc + at, spec_.mask & ((uint64_t{1} << (8 * (4 - at))) - 1), -1};
    }
    at -= 4;
  }
  const auto left = static_cast<int64_t>(sizeof(GuideSum)) - at;
  return {reinterpret_cast<char*>(&plan_->guides[static_cast<size_t>(spec_.step)]) + at,
          left < 8 ? spec_.mask & ((uint64_t{1} << (8 * left)) - 1) : spec_.mask, -1};
}

// The sums that were formed of the step's results.
void Session::strike_sums(size_t index) {
  int64_t at = spec_.index - crc_bytes(index);
  const Buffers::List form = buffers_.steps[index].form;
  for (uint32_t k = form.begin; k < form.end; ++k) {
    const Buffers::Range& r = buffers_.ranges[static_cast<size_t>(buffers_.ranges_of[k])];
    const auto bytes = static_cast<int64_t>(sizeof(uint64_t) * r.sums);
    if (at < bytes) {
      const int64_t left = bytes - at;
      const uint64_t mask = left < 8 ? spec_.mask & ((uint64_t{1} << (8 * left)) - 1) : spec_.mask;
      return strike_bytes(reinterpret_cast<char*>(&buffers_.sums[r.sums_at]) + at, mask, spec_.mode);
    }
    at -= bytes;
  }
}

// Byte spec_.index of these views laid one after another, either constants or all others. A mask that reaches beyond the end
// of a view is cut there.
Session::Target Session::target(const std::vector<int32_t>& slots, const TensorView* views, bool constants) const {
  int64_t at = spec_.index;
  for (size_t k = 0; k < slots.size(); ++k) {
    if (slots[k] < 0) continue;
    const Slot& slot = plan_->slots[static_cast<size_t>(slots[k])];
    if ((slot.place == Place::constant) != constants) continue;
    const int64_t left = static_cast<int64_t>(slot.bytes) - at;
    if (left > 0) return {views[k].as<char>() + at, left < 8 ? spec_.mask & ((uint64_t{1} << (8 * left)) - 1) : spec_.mask, static_cast<int32_t>(k)};
    at = -left;
  }
  return {nullptr, 0, -1};
}

// Operands in the arena are struck where they lie; a caller's input is copied first, and steps from here on read the copy.
void Session::strike_operand(size_t index) {
  const Step& s = plan_->steps[index];
  Target t = target(s.in, steps_[index].call.in, false);
  const Slot& slot = plan_->slots[static_cast<size_t>(s.in[static_cast<size_t>(t.operand)])];
  if (slot.place == Place::input) {
    const char* whole = static_cast<const char*>(inputs_[static_cast<size_t>(slot.offset)]);
    const size_t offset = static_cast<size_t>(t.at - whole);
    std::memcpy(struck_input_.data(), whole, struck_input_.size());
    for (const Patch& p : patches_) {
      if (p.input != slot.offset) continue;
      if (p.view) p.view->data = struck_input_.data();
      else *p.condition = reinterpret_cast<const uint8_t*>(struck_input_.data());
    }
    t.at = struck_input_.data() + offset;
  }
  strike_bytes(t.at, t.mask, spec_.mode);
}

void Session::heal() {
  for (auto s = struck_.rbegin(); s != struck_.rend(); ++s) std::memcpy(s->at, s->before.data(), s->before.size());
  struck_.clear();
  uncured_ = -1;  // what stayed through the run before is gone
  fault_runs_ = 0;
  armed_ = capture_step_ >= 0;
}

std::string Session::capture(int64_t step) {
  const auto count = static_cast<int64_t>(steps_.size());
  if (step < 0 || step >= count || !is_kernel(steps_[static_cast<size_t>(step)].op))
    return "capture: step: expected a kernel step among 0 to " + std::to_string(count - 1) + ", found " + std::to_string(step);
  capture_step_ = step;
  captured_.clear();
  captured_.reserve(static_cast<size_t>(sites(static_cast<size_t>(step))[Site::buffer]));
  armed_ = true;
  return {};
}

// Which step comes where the order says `at`, and which after it. False: none.
bool Session::divert(size_t* at, size_t* next) {
  const auto step = static_cast<size_t>(spec_.step);
  if (fault_runs_ == 0 || fault_phase_ == 2 || !in_order(spec_.site)) return true;
  if (fault_phase_ == 1) {  // in the midst of a swap, or of a repetition
    fault_phase_ = 2;
    if (spec_.site == Site::swap && *at == step) *next = step + 2;
    return true;
  }
  if (*at != step) return true;
  switch (spec_.site) {
    case Site::skip: fault_phase_ = 2; return false;
    case Site::repeat: fault_phase_ = 1; *next = step; return true;
    case Site::jump:
      fault_phase_ = 2;
      *next = static_cast<size_t>(spec_.index);
      return steps_[step].op != Op::branch && steps_[step].op != Op::jump;  // those would decide anew
    case Site::swap:
      fault_phase_ = 1;
      *at = step + 1;
      *next = step;
      return true;
    default: return true;
  }
}

void Session::compute_armed(size_t at) {
  const LiveStep& step = steps_[at];
  const bool here = fault_runs_ > 0 && !fault_spent_ && at == static_cast<size_t>(spec_.step) && !in_order(spec_.site);
  const bool stops = fault_runs_ > 0 && !fault_spent_ && at == static_cast<size_t>(spec_.step) && spec_.site == Site::stop;
  fault_spent_ |= (here || stops) && spec_.runs == 1;  // transient: not when the step is computed again
  if (here && spec_.site == Site::input) strike_operand(at);
  if (here && in_kernel(spec_.site)) aim(at);
  if (stops) {
    LiveStep shorter = step;
    shorter.call.end = spec_.index + 1;
    compute(shorter, at, false);
  } else {
    compute(step, at, here && in_kernel(spec_.site));
  }
  if (static_cast<int64_t>(at) == capture_step_) {
    captured_.clear();
    for (int32_t k = 0; k < step.call.n_out; ++k) {
      const char* from = step.call.out[k].as<const char>();
      captured_.insert(captured_.end(), from, from + step.call.out[k].elements() * static_cast<int64_t>(size_of(step.call.out[k].dtype)));
    }
  }
  if (here && spec_.site == Site::checksum) strike_sums(at);
  if (!here || spec_.site != Site::buffer) return;
  const Target t = target(plan_->steps[at].out, step.call.out, false);
  strike_bytes(t.at, t.mask, spec_.mode);
}

// Kernels flip bits of results: which ones set or clear them depends on the result, so the step runs once to see it.
void Session::aim(size_t at) {
  const LiveStep& step = steps_[at];
  fault_ = Fault{spec_.index, static_cast<uint32_t>(spec_.mask), static_cast<FaultSite>(spec_.site), spec_.mode};
  if (spec_.site != Site::result || spec_.mode == Fault::Mode::flip || !only_flips(plan_->steps[at])) return;
  const auto each = [&](bool keep) {  // outputs may lie over operands
    char* at = original_.data();
    for (int32_t k = 0; k < step.call.n_out; ++k) {
      const auto bytes = static_cast<size_t>(step.call.out[k].elements()) * size_of(step.call.out[k].dtype);
      std::memcpy(keep ? at : step.call.out[k].as<char>(), keep ? step.call.out[k].as<char>() : at, bytes);
      at += bytes;
    }
  };
  each(true);
  Run call = step.call;
  call.sink = nullptr;
  step.run(call);
  const uint32_t bits = step.call.out[0].as<const uint32_t>()[spec_.index];
  each(false);
  fault_.mask = spec_.mode == Fault::Mode::set ? ~bits & fault_.mask : bits & fault_.mask;
  fault_.mode = Fault::Mode::flip;
}

void Session::after_armed_run() {
  fault_phase_ = 0;
  fault_spent_ = false;
  if (fault_runs_ > 0) --fault_runs_;
  capture_step_ = -1;
  armed_ = fault_runs_ > 0;
}

}  // namespace edgerun
