// What is done about a finding, from the cheapest on: compute the step again (its operands are still there), with weights that are
// prepared again, begin the run again from the caller's inputs; then what Reaction says. Each at most once or twice, so a run with a
// fault that stays takes little more than two. Only runs that found something come here.
#include <algorithm>
#include <cstring>
#include <limits>

#include "session.h"

namespace edgerun {
namespace {

constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();
constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

}  // namespace

void Session::begin_reaction(bool off) {
  settled_ = off || reaction_ == Reaction::flag ? kNever : 0;
  failed_at_ = -1;
  known_ = uncured_;
  uncured_ = -1;
  again_ = false;
}

void Session::begin_pass(int32_t pass) {
  if (pass > 0) {
    ++info_.reruns;
    if (spec_.runs > 1) fault_phase_ = 0;
  }
  again_ = false;
  trusted_ = Trusted{};
  scores_.clear();
  classes_.clear();
  stopped_at_ = 0;
  info_.exit_index = -1;
  info_.has_difficulty = false;
}

// After step `at`, with findings that are open. False: the pass ends here, with *error or without.
bool Session::react(size_t at, bool armed, RunError* error) {
  const auto first = static_cast<size_t>(std::min<uint64_t>(settled_, findings_.size()));
  bool here = steps_[at].repeatable && findings_.size() > first;
  for (size_t k = first; k < findings_.size(); ++k)
    here &= findings_[k].step == static_cast<int32_t>(at) && !(findings_[k].flags & ~kOfTheStep);
  if (here) {
    if (clean_again(at, armed)) {
      settle(Action::corrected, false);
      return true;
    }
    if (!late() && failed_at_ < 0 && known_ != static_cast<int64_t>(at) && restore(at) == Repair::restored &&
        clean_again(at, armed)) {
      settle(Action::restored, true);
      return true;
    }
  }
  return late() || escalate(at, here, error);  // late: the loop ends with that
}

// Computes the step again. Its findings are the ones there were, so no new ones are kept.
bool Session::clean_again(size_t at, bool armed) {
  const uint64_t found = info_.findings, dropped = info_.findings_dropped;
  const size_t kept = findings_.size();
  flow_.undo();
  if (armed) compute_armed(at);
  else compute(steps_[at], at, false);
  if (steps_[at].op == Op::difficulty) std::memcpy(info_.difficulty, steps_[at].call.out[0].data, sizeof info_.difficulty);
  const bool clean = info_.findings == found && !late();
  info_.findings = found;
  info_.findings_dropped = dropped;
  findings_.resize(kept);
  return clean;
}

// Before a run, with findings of what was scrubbed. False: the run cannot begin, *error says so.
bool Session::mend(RunError* error) {
  const auto first = static_cast<size_t>(std::min<uint64_t>(settled_, findings_.size()));
  for (size_t k = first; k < findings_.size(); ++k) {
    EngineFinding& f = findings_[k];
    f.permanent = true;
    const bool holds = f.index < 0 ? table_holds(static_cast<size_t>(f.step)) : restore(static_cast<size_t>(f.step)) != Repair::source_lost;
    if (holds) f.action = Action::restored;
    else if (error->step < 0) *error = {f.step, 0, 0, 0, false, true};
  }
  settled_ = info_.findings;
  if (error->step < 0) return true;
  if (reaction_ == Reaction::retry || reaction_ == Reaction::restrict) {  // what it is used for may still hold, or is found
    *error = RunError{};
    return true;
  }
  for (size_t k = first; k < findings_.size(); ++k)
    if (findings_[k].action == Action::reported) findings_[k].action = Action::aborted;
  return false;
}

// Parameters and packed constants of the step, prepared again from the plan's constants.
Repair Session::restore(size_t at) {
  static std::mutex one_at_a_time;  // sessions share the plan
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  const Step& s = plan_->steps[at];
  try {
    if (!plan_->sums.empty()) return restore_prepared(*plan_, at);
    const size_t bytes = s.packed_at - s.params_at + s.need.packed;
    const Block fresh(bytes);
    prepare_step(*plan_, at, fresh.data(), fresh.data() + (s.packed_at - s.params_at));
    char* now = plan_->prepared.data() + s.params_at;
    if (std::memcmp(now, fresh.data(), bytes) == 0) return Repair::sound;
    give_back(now, fresh.data(), bytes);
    return Repair::restored;
  } catch (const std::exception&) {  // no memory for it, or constants that are damaged, too
    return Repair::source_lost;
  }
}

// The step's parameters or tables are damaged. Whatever the reaction, a kernel must not run with sizes that cannot be trusted: they are
// prepared again, and where that fails the step is left out.
bool Session::regain(size_t at) {
  const bool holds = restore(at) != Repair::source_lost && guide_holds(*plan_, at);
  add_finding({static_cast<int32_t>(at), kWeights, 0, kNone, kNone, kNone});
  if (!holds) return false;
  if (info_.findings == findings_.size()) findings_.back().action = Action::restored, findings_.back().permanent = true;
  if (settled_ + 1 == info_.findings) settled_ = info_.findings;
  return true;
}

void Session::settle(Action action, bool permanent) {
  for (size_t k = std::min<uint64_t>(settled_, findings_.size()); k < findings_.size(); ++k) {
    findings_[k].action = action;
    findings_[k].permanent = permanent;
  }
  settled_ = info_.findings;
}

// Nothing at the step helped: the run again, or what Reaction says. A fault that stayed through the latest run is known not to go
// away by that.
bool Session::escalate(size_t at, bool permanent, RunError* error) {
  const auto step = static_cast<int64_t>(at);
  if (failed_at_ < 0 && known_ != step) {
    settle(Action::rerun, permanent);
    failed_at_ = step;
    again_ = true;
    return false;
  }
  permanent |= failed_at_ == step || known_ == step;
  uncured_ = step;
  if (reaction_ == Reaction::restrict && restrict_values(at)) {
    settle(Action::restricted, permanent);
    return true;
  }
  if (reaction_ == Reaction::retry || reaction_ == Reaction::restrict) {
    settle(Action::reported, permanent);
    settled_ = kNever;  // what follows from it is reported, too
    return true;
  }
  bool trusted = trusted_.exit >= 0;
  for (size_t k = std::min<uint64_t>(settled_, findings_.size()); k < findings_.size(); ++k)
    trusted &= findings_[k].step > trusted_.step;  // what was written before the exit may be what it answers
  if (reaction_ == Reaction::exit_early && trusted) {
    settle(Action::degraded, permanent);
    settled_ = kNever;
    info_.exit_index = trusted_.exit;
    stopped_at_ = trusted_.step;
    scores_.resize(trusted_.reached);
    classes_.resize(trusted_.reached);
    return false;
  }
  settle(Action::aborted, permanent);
  *error = RunError{};
  error->step = static_cast<int32_t>(at);
  error->fault = true;
  return false;
}

}  // namespace edgerun
