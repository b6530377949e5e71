// The checks that are the engine's own: sums over buffers, the order of steps, steps computed twice. What they look at is decided
// by build_guards; a run without them tests a few flags.
#include <algorithm>
#include <cstring>
#include <limits>

#include "session.h"

namespace edgerun {
namespace {

constexpr size_t kParallelSum = 2 * kSumSegment;  // from here on threads share the work
constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

constexpr size_t round_up(size_t n) { return (n + kCacheLine - 1) / kCacheLine * kCacheLine; }
size_t segments(size_t bytes) { return (bytes + kSumSegment - 1) / kSumSegment; }
size_t bytes_of(const TensorView& v) { return static_cast<size_t>(v.elements()) * size_of(v.dtype); }

float value(const TensorView& v, size_t index) {
  switch (v.dtype) {
    case DType::f32: return v.as<const float>()[index];
    case DType::f64: return static_cast<float>(v.as<const double>()[index]);
    case DType::i8: return v.as<const int8_t>()[index];
    case DType::u8: case DType::b8: return v.as<const uint8_t>()[index];
    case DType::i32: return static_cast<float>(v.as<const int32_t>()[index]);
    case DType::i64: return static_cast<float>(v.as<const int64_t>()[index]);
    default: return kNone;
  }
}

}  // namespace

void Session::build_guards() {
  views_at_.push_back(views_.size());
  views_at_.front() = 0;  // those of the exits count as the first step's
  if (!checks_) return;
  uint32_t guards = 0;
  size_t room = 0, outputs = 0;
  const auto twice = [&](size_t k) { return steps_[k].run && (plan_->steps[k].guards & kGuardDuplicate) && !steps_[k].audit; };
  for (size_t k = 0; k < steps_.size(); ++k) {
    guards |= plan_->steps[k].guards;
    if (!twice(k)) continue;
    size_t bytes = 0;
    for (int32_t o : plan_->steps[k].out) bytes += round_up(plan_->slots[static_cast<size_t>(o)].bytes);
    outputs += plan_->steps[k].out.size();
    room = std::max(room, bytes);
  }
  shadow_ = Block(room);
  shadow_bytes_ = room;
  shadow_views_.reserve(outputs);  // never grows: steps hold pointers into it
  for (size_t k = 0; k < steps_.size(); ++k) {
    if (!twice(k)) continue;
    char* at = shadow_.data();
    for (int32_t o = 0; o < steps_[k].call.n_out; ++o) {
      shadow_views_.push_back(steps_[k].call.out[o]);
      shadow_views_.back().data = at;
      at += round_up(bytes_of(shadow_views_.back()));
    }
    steps_[k].shadow = shadow_views_.data() + shadow_views_.size() - steps_[k].call.n_out;
  }
  flow_on_ = (guards & kGuardFlow) != 0;
  if (flow_on_) flow_ = Flow(*plan_);
  buffers_ = Buffers(*plan_);
  sum_items_.reserve(buffers_.most_items);  // never grows while it runs
  word_sum_ = word_sum_of(kernels());
  weights_on_ = (guards & kGuardWeights) != 0;
  start_scrub();
}

// After the inputs are placed.
void Session::begin_guards() {
  flow_.begin();
  for (Buffers::Range& r : buffers_.ranges) {
    r.valid = r.input && r.sums > 0;
    r.read = false;
    if (!r.valid) continue;
    const SumItem item{static_cast<const char*>(inputs_[static_cast<size_t>(r.offset)]), r.bytes, &buffers_.sums[r.sums_at]};
    sum(&item, 1);
  }
}

// Part `chunk` of every item: what a thread wrote or read of it lies in its cache, more or less.
void Session::sum_chunk(const void* job, int32_t chunk, int32_t) {
  const SumJob& j = *static_cast<const SumJob*>(job);
  const auto n = static_cast<size_t>(j.chunks), c = static_cast<size_t>(chunk);
  for (size_t i = 0; i < j.count; ++i) {
    const size_t all = segments(j.items[i].bytes);
    sum_segments(j.sum, j.items[i], all * c / n, all * (c + 1) / n);
  }
}

void Session::sum_segments(WordSum sum, const SumItem& item, size_t begin, size_t end) {
  for (size_t k = begin; k < end; ++k)
    sum(item.data + k * kSumSegment, std::min(kSumSegment, item.bytes - k * kSumSegment), item.sums + 2 * k);
}

void Session::sum(const SumItem* items, size_t count) {
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) bytes += items[i].bytes;
  if (!team_ || bytes < kParallelSum) {
    for (size_t i = 0; i < count; ++i) sum_segments(word_sum_, items[i], 0, segments(items[i].bytes));
    return;
  }
  const SumJob job{word_sum_, items, count, team_->threads()};
  team_->run(&Session::sum_chunk, &job, job.chunks);
}

// Where steps read the range: of an input, where their tables point.
const char* Session::lies(const Buffers::Range& r) const {
  if (!r.input) return arena_.data() + r.offset;
  for (const Patch& p : patches_)
    if (p.view && p.input == r.offset) return p.view->as<const char>();
  return static_cast<const char*>(inputs_[static_cast<size_t>(r.offset)]);
}

void Session::verify(Buffers::Range& r, const char* data) {
  uint64_t* is = buffers_.found.data();
  const SumItem item{data, r.bytes, is};
  sum(&item, 1);
  hold_against(r, is);
}

// The finding is the writer's, whose output was altered since; of an input, the reader's. It is told once: later readers compare
// with what was found.
void Session::hold_against(Buffers::Range& r, const uint64_t* is) {
  r.read = false;
  uint64_t* was = &buffers_.sums[r.sums_at];
  uint64_t differs = 0;  // few: a call of memcmp costs more
  for (size_t k = 0; k < r.sums; ++k) differs |= is[k] ^ was[k];
  if (__builtin_expect(differs == 0, 1)) return;
  const auto at = static_cast<size_t>(std::mismatch(is, is + r.sums, was).first - is) / 2 * kSumSegment;
  std::copy(is, is + r.sums, was);
  add_finding({r.input ? std::max(r.reader, 0) : r.writer, kBuffer, static_cast<int64_t>(at / r.element), kNone, kNone, kNone});
}

// Before the step: what it reads is noted, what it overwrites and was read (by itself, perhaps) is verified.
void Session::note_operands(size_t index) {
  const Buffers::OfStep& of = buffers_.steps[index];
  for (uint32_t k = of.read.begin; k < of.read.end; ++k) {
    Buffers::Range& r = buffers_.ranges[static_cast<size_t>(buffers_.ranges_of[k])];
    r.read = true;
    r.reader = static_cast<int32_t>(index);
  }
  for (uint32_t k = of.drop.begin; k < of.drop.end; ++k) {
    Buffers::Range& r = buffers_.ranges[static_cast<size_t>(buffers_.ranges_of[k])];
    if (r.valid && r.read) verify(r, lies(r));
    r.valid = false;
  }
}

// After the step: sums of what it wrote, and of what it was the last to read, which must be as it was.
void Session::settle_buffers(size_t index) {
  const Buffers::OfStep& of = buffers_.steps[index];
  uint64_t* found = buffers_.found.data();
  sum_items_.clear();
  for (uint32_t k = of.form.begin; k < of.form.end; ++k) {
    Buffers::Range& r = buffers_.ranges[static_cast<size_t>(buffers_.ranges_of[k])];
    r.valid = true;
    r.read = false;
    r.writer = static_cast<int32_t>(index);
    sum_items_.push_back({arena_.data() + r.offset, r.bytes, &buffers_.sums[r.sums_at]});
  }
  const size_t formed = sum_items_.size();
  for (uint32_t k = of.last.begin; k < of.last.end; ++k) {
    const Buffers::Range& r = buffers_.ranges[static_cast<size_t>(buffers_.ranges_of[k])];
    if (!r.valid || !r.read) continue;
    sum_items_.push_back({lies(r), r.bytes, found});
    found += r.sums;
  }
  if (sum_items_.empty()) return;
  sum(sum_items_.data(), sum_items_.size());
  for (uint32_t k = of.last.begin, i = static_cast<uint32_t>(formed); k < of.last.end; ++k) {
    Buffers::Range& r = buffers_.ranges[static_cast<size_t>(buffers_.ranges_of[k])];
    if (r.valid && r.read) hold_against(r, sum_items_[i++].sums);
  }
}

// Before a decision, and at the end: all that anything was computed from, and not verified since.
void Session::verify_read() {
  for (Buffers::Range& r : buffers_.ranges)
    if (r.valid && r.read) verify(r, lies(r));
}

// Hands an output to the caller. The copy is what is verified where it is the whole range.
void Session::deliver(size_t output, void* to) {
  const Slot& slot = plan_->slots[plan_->outputs[output].slot];
  if (!slot.bytes) return;
  const void* from = slot.place == Place::input ? inputs_[static_cast<size_t>(slot.offset)] : resolve(slot);
  std::memcpy(to, from, slot.bytes);
  if (!buffers_.any()) return;
  const Buffers::List list = buffers_.outputs[output];
  for (uint32_t k = list.begin; k < list.end; ++k) {
    Buffers::Range& r = buffers_.ranges[static_cast<size_t>(buffers_.ranges_of[k])];
    const bool whole = r.bytes == slot.bytes && (r.input || r.offset == slot.offset);
    if (r.valid) verify(r, whole ? static_cast<const char*>(to) : lies(r));
  }
}

// The step once more, into memory of its own and before it is done: its result may be written over an operand.
void Session::shadow(const LiveStep& step, int32_t threads) {
  LiveStep twin = step;
  twin.call.out = step.shadow;
  twin.call.sink = nullptr;
  run_step(twin, false, threads);
}

void Session::compare(const LiveStep& step, size_t index) {
  if (late()) return;  // one of them may be unfinished; the run ends with that error
  size_t before = 0;
  for (int32_t o = 0; o < step.call.n_out; ++o) {
    const TensorView &got = step.call.out[o], &again = step.shadow[o];
    const size_t bytes = bytes_of(got), size = size_of(got.dtype);
    if (__builtin_expect(bytes && std::memcmp(got.data, again.data, bytes) != 0, 0)) {
      const char *a = got.as<const char>(), *b = again.as<const char>();
      const auto at = static_cast<size_t>(std::mismatch(a, a + bytes, b).first - a) / size;
      add_finding({static_cast<int32_t>(index), kDuplicate, static_cast<int64_t>(before + at), value(again, at), value(got, at), 0});
      return;
    }
    before += static_cast<size_t>(got.elements());
  }
}

// Where step `at`, a branch, must lead to: its condition is read through the plan, not through the tables of the loop.
size_t Session::next_of_branch(size_t at) const {
  const Step& s = plan_->steps[at];
  const Slot& c = plan_->slots[static_cast<size_t>(s.in[0])];
  const void* from = c.place == Place::input ? inputs_[static_cast<size_t>(c.offset)] : resolve(c);
  return *static_cast<const volatile uint8_t*>(from) ? at + 1 : s.target;
}

// Whether the steps before `end` were done as planned; `at`: the step that says so.
void Session::check_flow(size_t at, size_t end) {
  if (!flow_on_ || __builtin_expect(flow_.holds(end), 1)) return;
  add_finding({static_cast<int32_t>(at), kFlow, flow_.steps(), kNone, kNone, kNone});
}

}  // namespace edgerun
