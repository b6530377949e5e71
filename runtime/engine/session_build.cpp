// From a plan to steps that need no looking up: pointers, scratch and the number of threads of each step.
#include <algorithm>
#include <limits>

#include "session.h"
#include "topology.h"

namespace edgerun {
namespace {

constexpr size_t round_up(size_t n) { return (n + kCacheLine - 1) / kCacheLine * kCacheLine; }

// What one core does in a nanosecond, roughly; only the decision "alone or together" rests on it.
constexpr double kOpsPerNs = 40, kBytesPerNs = 32;
constexpr double kMinNsPerThread = 5000;  // handing out a step and meeting again costs about 1 microsecond
constexpr double kMinGainNs = 15000;      // a run must gain this much, or waking the workers costs more
constexpr double kInCache = 128 * 1024, kPieceBytes = 64 * 1024;  // an operand that stays in L2; a piece of one that does not
constexpr double kSliceNs = 1e6;          // how often a time limit is looked at within a step
constexpr int64_t kManyChunksNs = 200000; // from here on smaller chunks even out cores that are busy elsewhere

// Whether no output of the step shares bytes with an operand: it can then be computed again.
bool apart(const Plan& plan, const Step& s) {
  for (int32_t in : s.in) {
    if (in < 0 || plan.slots[static_cast<size_t>(in)].place != Place::arena) continue;
    const Slot& x = plan.slots[static_cast<size_t>(in)];
    for (int32_t out : s.out) {
      const Slot& y = plan.slots[static_cast<size_t>(out)];
      if (x.offset < y.offset + y.bytes && y.offset < x.offset + x.bytes) return false;
    }
  }
  return true;
}

}  // namespace

Session::Session(std::shared_ptr<const Plan> plan, const SessionOptions& options)
    : plan_(std::move(plan)),
      policy_(plan_->policy),
      threads_(options.threads > 0 ? std::min(options.threads, 1024) : default_threads()),
      spin_us_(std::max(0, options.spin_us)),
      timeout_ns_(std::max<int64_t>(0, options.timeout_ns)),
      checks_(options.checks) {
  scrub_bytes_ = std::max<int64_t>(0, options.scrub_bytes);
  reaction_ = options.reaction;
  build();
  build_guards();
  if (threads_ > 1) pool_ = ThreadPool::get(threads_, spin_us_);
}

const char* Session::resolve(const Slot& slot) const {
  switch (slot.place) {
    case Place::arena: return arena_.data() + slot.offset;
    case Place::constant: return slot.view.as<const char>();
    default: return nullptr;
  }
}

void Session::use_threads(LiveStep& live, int32_t threads, int64_t cost_ns) const {
  const int64_t units = std::max<int64_t>(live.call.end, 1);
  live.threads = static_cast<int32_t>(std::min<int64_t>({threads, units, threads_}));
  int64_t chunks = live.threads;
  if (live.threads > 1 && cost_ns > kManyChunksNs) chunks = std::min<int64_t>(units, chunks * 4);
  if (timeout_ns_ && live.threads > 1) chunks = std::max<int64_t>(chunks, live.slices);
  live.chunks = static_cast<int32_t>(std::min<int64_t>(chunks, 65535));
}

size_t Session::memory() const {
  const Plan& p = *plan_;
  const size_t tables = (steps_.size() + kept_steps_.size()) * sizeof(LiveStep) + (views_.size() + kept_views_.size()) * sizeof(TensorView);
  const size_t sums = p.sums.size() * sizeof(SumBlock) + (p.guides ? p.steps.size() * sizeof(GuideSum) : 0) + buffers_.sums.size() * sizeof(uint64_t);
  return p.prepared_bytes + static_cast<size_t>(p.arena_bytes) + scratch_stride_ * static_cast<size_t>(threads_) + shadow_bytes_ + tables + sums +
         checksums_.size() * sizeof(Checksum);
}

// plan_steps.cpp has verified the attributes.
void Session::use_range(const Step& s, LiveStep* live) {
  const Attrs attrs{s.attrs.data(), static_cast<int32_t>(s.attrs.size())};
  const Attr *of = attrs.find("range_of"), *by = attrs.find("range_by");
  live->range_of = of ? of->ints : nullptr;
  live->ranges = of ? of->count : 0;
  live->range_by = by->floats;
  live->range_elements = static_cast<double>(live->call.in[0].elements());
}

void Session::build() {
  const Plan& plan = *plan_;
  arena_ = Block(static_cast<size_t>(plan.arena_bytes));
  size_t scratch = 0, operands = 0;
  double gain = 0;
  for (const Step& s : plan.steps) {
    scratch = std::max(scratch, s.need.scratch);
    operands += s.in.size() + s.out.size();
  }
  scratch_stride_ = round_up(scratch);
  if (scratch_stride_ > SIZE_MAX / 2048) throw std::bad_alloc();
  scratch_ = Block(scratch_stride_ * static_cast<size_t>(threads_));
  sinks_.resize(static_cast<size_t>(threads_));
  checksums_.resize(static_cast<size_t>(threads_));
  magnitudes_.assign(plan.steps.size(), std::numeric_limits<double>::infinity());  // where nothing is known
  for (size_t t = 0; t < sinks_.size(); ++t) sinks_[t].checksum = &checksums_[t];
  bad_indices_.resize(static_cast<size_t>(threads_));
  done_.resize(static_cast<size_t>(threads_));
  views_.reserve(operands + plan.exits.size());  // never grows: steps hold pointers into it
  const auto view = [&](int32_t index) {
    TensorView v{};
    v.rank = -1;
    v.dtype = DType::none;
    if (index >= 0) {
      const Slot& slot = plan.slots[static_cast<size_t>(index)];
      v = slot.view;
      v.data = const_cast<char*>(resolve(slot));
    }
    views_.push_back(v);
    if (index >= 0 && plan.slots[static_cast<size_t>(index)].place == Place::input)
      patches_.push_back({&views_.back(), nullptr, plan.slots[static_cast<size_t>(index)].offset});
  };
  for (const Exit& e : plan.exits) view(static_cast<int32_t>(e.slot));
  steps_.resize(plan.steps.size());
  for (size_t k = 0; k < plan.steps.size(); ++k) {
    const Step& s = plan.steps[k];
    LiveStep& live = steps_[k];
    live.op = s.op;
    live.target = s.target;
    live.checked = checks_ && (s.guards & (kMaed | kAbft));
    live.number = Flow::number(k);
    live.indexed = s.need.indexed;
    views_at_.push_back(views_.size());
    const TensorView* in = views_.data() + views_.size();
    for (int32_t index : s.in) view(index);
    const TensorView* out = views_.data() + views_.size();
    for (int32_t index : s.out) view(index);
    if (s.op == Op::branch) {
      const Slot& c = plan.slots[static_cast<size_t>(s.in[0])];
      live.condition = reinterpret_cast<const uint8_t*>(resolve(c));
      if (c.place == Place::input) patches_.push_back({nullptr, &live.condition, c.offset});
    }
    live.call = Run{plan.prepared.data() + s.params_at, plan.prepared.data() + s.packed_at, in, out, scratch_.data(), 0,
                    s.need.units, live.checked ? sinks_.data() : nullptr, static_cast<int32_t>(s.in.size()),
                    static_cast<int32_t>(s.out.size()), bad_indices_.data()};
    if (!is_kernel(s.op)) continue;
    live.run = s.kernel->run;
    live.repeatable = apart(plan, s);
    if (live.checked && (s.guards & kAbft) && s.need.audit_units > 0) {
      live.audit = s.kernel->audit;
      live.audit_units = s.need.audit_units;
      live.audit_sums = std::min(s.need.audit_sums, kMostSums);
      live.audit_bound = s.need.audit_bound;
      live.audit_floor = 1.5e-45 * s.need.work;
      const auto bytes = static_cast<double>(live.call.in[0].elements()) * static_cast<double>(size_of(live.call.in[0].dtype));
      if (bytes > kInCache) live.pieces = static_cast<int32_t>(std::min(bytes / kPieceBytes, 64.0));
      if (s.guards & kGuardRange) use_range(s, &live);
    }
    if (const Attr* seen = Attrs{s.attrs.data(), static_cast<int32_t>(s.attrs.size())}.find("restrict"))
      if (seen->floats && seen->count == 2 && !s.out.empty() && plan.slots[static_cast<size_t>(s.out[0])].view.dtype == DType::f32)
        live.restrict_to = seen->floats;
    live.guided = checks_ && (s.guards & kGuardWeights);
    const double cost = std::max(s.need.work / kOpsPerNs, s.need.bytes / kBytesPerNs);
    const double slices = std::min(cost / kSliceNs + 1, 65535.0);
    live.slices = static_cast<int32_t>(std::min<int64_t>(static_cast<int64_t>(slices), std::max<int64_t>(s.need.units, 1)));
    const double share = std::min(cost / kMinNsPerThread, 4096.0);
    use_threads(live, std::max(1, std::min(threads_, static_cast<int32_t>(share))), static_cast<int64_t>(std::min(cost, 1e15)));
    gain += cost - cost / live.threads;
  }
  any_parallel_ = gain > kMinGainNs;
  for (LiveStep& live : steps_)
    if (!any_parallel_) live.threads = live.chunks = 1;
  inputs_.assign(plan.inputs.size(), nullptr);
  findings_.reserve(kMaxFindings);
  scores_.reserve(plan.exits.size());
  classes_.reserve(plan.exits.size());
}

std::string Session::set_policy(Policy policy) {
  std::vector<int64_t> classes;
  for (const Exit& e : plan_->exits) classes.push_back(plan_->slots[e.slot].view.elements());
  std::string defect = policy_defect(policy, classes, plan_->difficulty_slot >= 0);
  if (defect.empty()) policy_ = std::move(policy);
  return defect;
}

}  // namespace edgerun
