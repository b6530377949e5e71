// Resolves each step to a kernel, asks what it needs, and lets it pack its constants, once for all sessions.
#include <new>

#include "plan.h"

namespace edgerun {
namespace {

constexpr size_t round_up(size_t n) { return (n + kCacheLine - 1) / kCacheLine * kCacheLine; }

struct Views {
  std::vector<TensorView> in, out;
  Request request;

  Views(const Plan& plan, const Step& s) {
    for (int32_t k : s.in) in.push_back(view(plan, k));
    for (int32_t k : s.out) out.push_back(view(plan, k));
    request = {{s.attrs.data(), static_cast<int32_t>(s.attrs.size())}, in.data(), out.data(),
               static_cast<int32_t>(in.size()), static_cast<int32_t>(out.size())};
  }

  static TensorView view(const Plan& plan, int32_t slot) {
    if (slot >= 0) return plan.slots[static_cast<size_t>(slot)].view;
    TensorView absent{};
    absent.rank = -1;
    absent.dtype = DType::none;
    return absent;
  }
};

[[noreturn]] void refuse(const Plan& plan, size_t index, const std::string& why) {
  const Step& s = plan.steps[index];
  std::string shapes;
  for (const std::vector<int32_t>* list : {&s.in, &s.out}) {
    shapes += shapes.empty() ? " (inputs" : "; outputs";
    for (int32_t k : *list) {
      const TensorView v = Views::view(plan, k);
      shapes += v.absent() ? " none" : " [";
      for (int32_t d = 0; d < v.rank; ++d) shapes += (d ? "," : "") + std::to_string(v.dims[d]);
      if (!v.absent()) shapes += "]";
    }
  }
  throw PlanError("step " + std::to_string(index) + ", " + s.op_name + " '" + s.node + "': kernel " + s.kernel_name + " " + why + shapes + ")",
                  static_cast<int64_t>(index));
}

}  // namespace

Block::Block(size_t bytes) {
  // calloc hands out fresh zero pages, so a large arena costs only what is touched.
  if (bytes > SIZE_MAX - 2 * kCacheLine) throw std::bad_alloc();
  owner_.reset(std::calloc(bytes + kCacheLine, 1));
  if (!owner_) throw std::bad_alloc();
  const auto at = reinterpret_cast<uintptr_t>(owner_.get());
  data_ = static_cast<char*>(owner_.get()) + (kCacheLine - at % kCacheLine) % kCacheLine;
}

const char* reason(Status s) {
  switch (s) {
    case Status::ok: return "accepts its operands";
    case Status::bad_arity: return "refuses the number of its operands";
    case Status::bad_dtype: return "refuses an operand's dtype";
    case Status::bad_rank: return "refuses an operand's rank";
    case Status::bad_shape: return "finds shapes that do not fit each other";
    case Status::bad_attribute: return "misses an attribute, or finds one out of range";
    case Status::unsupported: return "does not support this form";
    case Status::too_large: return "finds sizes that overflow";
    case Status::not_constant: return "needs a constant operand";
    case Status::bad_index: return "has a constant index out of range";
  }
  return "failed";
}

void prepare_step(const Plan& plan, size_t step, void* params, void* packed) {
  const Views v(plan, plan.steps[step]);
  const Status status = plan.steps[step].kernel->prepare(v.request, params, packed);
  if (status != Status::ok) refuse(plan, step, reason(status));
}

void prepare_plan(Plan& plan) {
  const KernelTable& table = kernels();
  plan.isa = table.isa;
  size_t total = 0;
  const auto reserve = [&](size_t index, size_t bytes) {
    const size_t at = total;
    if (bytes > SIZE_MAX / 4 || total > SIZE_MAX / 4) refuse(plan, index, "needs more memory than there can be");
    total += round_up(bytes);
    return at;
  };
  for (size_t k = 0; k < plan.steps.size(); ++k) {
    Step& s = plan.steps[k];
    if (!is_kernel(s.op)) continue;
    s.kernel = find_kernel(table, s.kernel_name.c_str());
    if (!s.kernel) refuse(plan, k, "is not in this build");
    if (s.out.empty()) refuse(plan, k, "has no outputs");
    const Views v(plan, s);
    const Status status = s.kernel->query(v.request, &s.need);
    if (status != Status::ok) refuse(plan, k, reason(status));
    if (s.need.units < 0) refuse(plan, k, "finds sizes that overflow");
    s.params_at = reserve(k, s.need.params);
    s.packed_at = reserve(k, s.need.packed);
  }
  plan.prepared = Block(total);
  plan.prepared_bytes = total;
  bool guarded = false;
  for (size_t k = 0; k < plan.steps.size(); ++k) {
    const Step& s = plan.steps[k];
    guarded |= (s.guards & kGuardWeights) != 0;
    if (is_kernel(s.op)) prepare_step(plan, k, plan.prepared.data() + s.params_at, plan.prepared.data() + s.packed_at);
  }
  if (guarded) plan.sums = sum_blocks(plan), plan.guides = guide_sums(plan);
  for (const Port& port : plan.outputs) {
    const Slot& out = plan.slots[port.slot];
    int64_t ready = -1;
    for (size_t k = 0; out.place == Place::arena && k < plan.steps.size(); ++k)
      for (int32_t w : plan.steps[k].out) {
        const Slot& written = plan.slots[static_cast<size_t>(w)];
        if (written.offset < out.offset + out.bytes && out.offset < written.offset + written.bytes) ready = static_cast<int64_t>(k);
      }
    plan.ready_step.push_back(ready);
  }
}

}  // namespace edgerun
