// The loop: one pass over the steps, no allocation, no exceptions, no strings.
#include "session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

namespace edgerun {
namespace {

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// First element of chunk k of n: the remainder goes to the first chunks, so sizes differ by at most one.
int64_t split(int64_t units, int64_t n, int64_t k) { return units / n * k + std::min(units % n, k); }

}  // namespace

// inputs = null: between runs nothing points into callers' memory, and the tables are always the same.
void Session::place_inputs(const void* const* inputs) {
  for (size_t k = 0; k < inputs_.size(); ++k) inputs_[k] = inputs ? inputs[k] : nullptr;
  for (const Patch& p : patches_) {
    const void* data = inputs_[static_cast<size_t>(p.input)];
    if (p.view) p.view->data = const_cast<void*>(data);
    else *p.condition = static_cast<const uint8_t*>(data);
  }
}

bool Session::late() const { return __builtin_expect(deadline_ != 0, 0) && now_ns() > deadline_; }

void Session::chunk(const void* job, int32_t chunk, int32_t thread) {
  const Job& j = *static_cast<const Job*>(job);
  const auto t = static_cast<size_t>(thread);
  Session& s = *const_cast<Session*>(j.session);
  if (s.late()) return;
  Run call = j.step->call;
  call.scratch = s.scratch_.data() + s.scratch_stride_ * t;
  call.sink = j.sink ? &s.sinks_[t] : nullptr;
  call.bad_index = &s.bad_indices_[t];
  s.run_part(*j.step, call, chunk, j.step->chunks, &s.done_[t]);
}

// Part `part` of `parts` of the step's units, and of what its checksum reads of the operand, in pieces: so short that a long step can be
// left in its midst where there is a time limit, and that the checksum finds in cache what the kernel has just read.
void Session::run_part(const LiveStep& step, Run call, int64_t part, int64_t parts, Done* done) {
  const int64_t units = call.end, least = deadline_ ? std::max(step.pieces, step.slices) : step.pieces;
  const int64_t pieces = (least + parts - 1) / parts, all = parts * pieces;
  for (int64_t k = part * pieces; k < (part + 1) * pieces && !late(); ++k) {
    call.begin = split(units, all, k);
    call.end = split(units, all, k + 1);
    if (call.begin < call.end) step.run(call);
    done->units += call.end - call.begin;
    if (!step.audit || !call.sink) continue;
    call.begin = split(step.audit_units, all, k);
    call.end = split(step.audit_units, all, k + 1);
    if (call.begin < call.end) step.audit(call);
  }
}

// Returns how many units were done.
int64_t Session::run_step(const LiveStep& step, bool sink, int32_t threads) {
  if (threads > 1) {
    const Job job{this, &step, sink};
    team_->run(&Session::chunk, &job, step.chunks);
  } else {
    Run call = step.call;
    call.sink = sink ? sinks_.data() : nullptr;
    run_part(step, call, 0, 1, done_.data());
  }
  int64_t units = 0;
  for (size_t t = 0; t < (threads > 1 ? done_.size() : 1); ++t) {
    units += done_[t].units;
    done_[t].units = 0;
  }
  return units;
}

void Session::compute(const LiveStep& step, size_t index, bool armed) {
  if (step.call.end == 0) return flow_.did(step.number, 0);
  const bool sink = step.checked || armed;
  if (armed)
    for (CheckSink& s : sinks_) s.fault = &fault_;
  const int32_t threads = team_ ? step.threads : 1;
  if (step.guided && __builtin_expect(!guide_holds(*plan_, index), 0) && !regain(index)) return flow_.did(step.number, 0);
  if (buffers_.any()) note_operands(index);
  if (step.shadow) shadow(step, threads);
  flow_.did(step.number, run_step(step, sink, threads));
  if (step.shadow) compare(step, index);
  if (step.audit) judge(step, index, threads);
  if (buffers_.any()) settle_buffers(index);
  if (sink) {
    uint32_t flags = sinks_[0].flags;
    if (threads > 1)
      for (size_t t = 1; t < sinks_.size(); ++t) flags |= sinks_[t].flags;
    if (__builtin_expect(flags != 0, 0)) record(index, step.checked ? threads : 0);
  }
  if (armed)
    for (CheckSink& s : sinks_) s.fault = nullptr;
}

// Kernels that gather their checks over a row or tile keep no values. NaN says so; a non-finite output is still there to be
// found, at its place. What an identity should have given is gone with the operands of the fused activation.
void Session::locate(const LiveStep& step, EngineFinding* f) {
  f->expected = f->got = f->bound = std::numeric_limits<float>::quiet_NaN();
  const TensorView& out = step.call.out[0];
  if (!(f->flags & kNonFinite) || out.dtype != DType::f32) return;
  const float* y = out.as<const float>();
  for (int64_t k = std::max<int64_t>(f->index, 0); k < out.elements(); ++k)
    if (!std::isfinite(y[k])) {
      f->index = k;
      f->got = y[k];
      return;
    }
}

// One finding a step: all flags, and the violation with the lowest index. threads = 0: only forget what was seen.
void Session::record(size_t step, int32_t threads) {
  EngineFinding f{static_cast<int32_t>(step), 0, -1, 0, 0, 0};
  for (CheckSink& s : sinks_) {
    if (!s.flags) continue;
    if (f.index < 0 || (s.first_index >= 0 && s.first_index < f.index)) {
      f.index = s.first_index;
      f.expected = s.expected;
      f.got = s.got;
      f.bound = s.bound;
    }
    f.flags |= s.flags;
    s.flags = 0;
    s.first_index = -1;
    s.got = s.expected = s.bound = 0;
  }
  if (!threads) return;
  if (!(f.bound > 0)) locate(steps_[step], &f);
  add_finding(f);
}

void Session::add_finding(const EngineFinding& f) {
  ++info_.findings;
  if (findings_.size() < kMaxFindings) findings_.push_back(f);
  else ++info_.findings_dropped;
}

bool Session::at_exit(uint32_t exit, int64_t elapsed_ns) {
  const TensorView& v = views_[exit];
  const bool last = exit + 1 == plan_->exits.size();
  const ExitView e{v.as<const float>(), v.elements(), plan_->exits[exit].logits, last, static_cast<int32_t>(exit)};
  const Verdict verdict = decide(policy_, e, info_.difficulty[0], classes_.data(), static_cast<int32_t>(classes_.size()), elapsed_ns);
  if (scores_.size() < plan_->exits.size()) {  // a plan may name an exit in two steps; never grow
    scores_.push_back(verdict.score);
    classes_.push_back(verdict.predicted);
  }
  info_.exit_index = static_cast<int32_t>(exit);
  return verdict.stop;
}

// What the kernel reported, and forget it: the lowest position of all threads.
RunError Session::index_error(size_t step) {
  RunError e;
  for (BadIndex& b : bad_indices_) {
    if (b.position < 0) continue;
    if (e.step < 0 || b.position < e.position) e = {static_cast<int32_t>(step), b.position, b.value, b.extent};
    b.position = -1;
  }
  return e;
}

template <bool kProfile, bool kArmed>
RunError Session::loop(int64_t begin, int64_t* ns) {
  const size_t count = steps_.size();
  int64_t last = begin;
  bool stop = false;
  size_t k = 0;
  while (k < count) {
    size_t at = k++;
    if (kArmed && !divert(&at, &k)) continue;
    const LiveStep& step = steps_[at];
    ++info_.steps_run;
    switch (step.op) {
      case Op::kernel:
        if (kArmed) compute_armed(at);
        else compute(step, at, false);
        if (__builtin_expect(step.indexed, 0))
          if (const RunError e = index_error(at); e.step >= 0) return e;
        break;
      case Op::difficulty:
        if (kArmed) compute_armed(at);
        else compute(step, at, false);
        std::memcpy(info_.difficulty, step.call.out[0].data, sizeof info_.difficulty);
        info_.has_difficulty = true;
        break;
      case Op::branch:
        if (buffers_.any()) note_operands(at), verify_read();
        if (!*step.condition) k = step.target;
        flow_.did(step.number, 0);
        if (flow_on_) flow_.went(at, next_of_branch(at));
        break;
      case Op::jump:
        k = step.target;
        flow_.did(step.number, 0);
        if (flow_on_) flow_.went(at, plan_->steps[at].target);
        break;
      case Op::exit:
        if (buffers_.any()) note_operands(at), verify_read();
        flow_.did(step.number, 0);
        check_flow(at, at + 1);
        stop = at_exit(step.target, now_ns() - begin) && !kProfile;
        if (!open_findings()) trusted_ = {static_cast<int32_t>(step.target), static_cast<int64_t>(at), scores_.size()};
        break;
    }
    if (open_findings())
      if (RunError e; !react(at, kArmed, &e)) return e;
    if (late()) return {static_cast<int32_t>(at), 0, 0, 0, true};
    if constexpr (kProfile) {
      const int64_t t = now_ns();
      ns[at] += t - last;
      last = t;
    }
    if (stop) {
      stopped_at_ = static_cast<int64_t>(at);
      return {};
    }
  }
  stopped_at_ = static_cast<int64_t>(count);
  if (count) check_flow(count - 1, count);
  const auto exits = static_cast<int32_t>(plan_->exits.size());
  if (info_.exit_index < exits - 1) at_exit(static_cast<uint32_t>(exits - 1), 0);
  return {};
}

template <bool kProfile>
RunError Session::execute(const void* const* inputs, void* const* outputs, int64_t* ns) {
  const int64_t begin = now_ns();
  info_ = RunInfo{};
  findings_.clear();
  deadline_ = timeout_ns_ ? begin + timeout_ns_ : 0;
  begin_reaction(kProfile);
  if (any_parallel_) {
    if (pool_->lost()) pool_ = ThreadPool::get(threads_, spin_us_);
    if (pool_->try_acquire()) {
      team_ = pool_.get();
      team_->wake();
    }
  }
  const bool armed = armed_ && !kProfile;
  RunError error;
  for (int32_t pass = 0; error.step < 0 && (pass == 0 || again_); ++pass) {
    begin_pass(pass);
    if (pass == 0) scrub_some();
    if (open_findings() && !mend(&error)) break;
    place_inputs(inputs);
    begin_guards();
    error = __builtin_expect(armed, 0) ? loop<false, true>(begin, ns) : loop<kProfile, false>(begin, ns);
    if (error.step >= 0 || again_) continue;
    if (buffers_.any()) verify_read();
    for (size_t k = 0; outputs && k < plan_->outputs.size(); ++k)
      if (outputs[k] && output_ready(k)) deliver(k, outputs[k]);
    if (open_findings()) escalate(steps_.size() - 1, false, &error);
  }
  if (team_) team_->release();
  team_ = nullptr;
  if (weights_on_) place_inputs(nullptr);
  if (armed) after_armed_run();
  for (CheckSink& s : sinks_) {
    info_.values_checked += s.checked;
    s.checked = 0;
  }
  info_.exits_reached = static_cast<int32_t>(scores_.size());
  last_ns_ = info_.elapsed_ns = now_ns() - begin;
  return error;
}

RunError Session::run(const void* const* inputs, void* const* outputs) { return execute<false>(inputs, outputs, nullptr); }

RunError Session::profile(const void* const* inputs, void* const* outputs, int64_t* ns) {
  return execute<true>(inputs, outputs, ns);
}

}  // namespace edgerun
