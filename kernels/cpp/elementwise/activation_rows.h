// An activation over a contiguous row, with its checks and an armed fault, for the unary kernels and for the
// activations fused into arithmetic. x and y may be the same buffer. Checks: activation.h, or paper.h.
#pragma once
#include "paper.h"
#include "unary.h"

namespace edgerun::EDGERUN_ISA {

inline constexpr int kPack = 4;                   // vectors in flight
inline constexpr int64_t kFold = 64 * kLanes;     // values that are judged together: a fault must stand out from 64 in its lane

template <int kCode, bool kChecked>
inline void activation_row(const float* x, float* y, int64_t n, const ActVectors& act, Checker* seen) {
  Checker local;
  int64_t k = 0;
  for (; k + kPack * kLanes <= n; k += kPack * kLanes) {
    vf pack[kPack];
    for (int c = 0; c < kPack; ++c) pack[c] = loadu(x + k + c * kLanes);
    activate_pack<kCode, kChecked>(pack, act, local);
    for (int c = 0; c < kPack; ++c) storeu(y + k + c * kLanes, pack[c]);
  }
  for (; k + kLanes <= n; k += kLanes) storeu(y + k, activate<kCode, kChecked>(loadu(x + k), act, local));
  if (k < n) {
    const int rest = static_cast<int>(n - k);
    store_partial(y + k, activate<kCode, kChecked>(load_partial(x + k, rest), act, local), rest);
  }
  if (kChecked) seen->join(local);
}

// The same with an armed fault somewhere in the row.
template <int kCode> EDGERUN_NOINLINE void activation_row_faulty(const float* x, float* y, int64_t index, int64_t n,
                                                                 const ActVectors& act, const CheckSink* sink,
                                                                 Checker* seen) {
  for (int64_t k = 0; k < n; k += kLanes) {
    const int rest = static_cast<int>(least(kLanes, n - k));
    const vf v = activate<kCode, true>(load_partial(x + k, rest), act, *seen, fault_lanes(sink, index + k));
    store_partial(y + k, v, rest);
  }
}

template <int kCode> inline void activation_block(const float* x, float* y, int64_t index, int64_t n,
                                                  const ActVectors& act, CheckSink* sink) {
  Checker none;
  if (!sink) return activation_row<kCode, false>(x, y, n, act, &none);
  for (int64_t at = 0; at < n; at += kFold) {
    const int64_t count = least(kFold, n - at);
    Checker seen;
    if (fault_in(sink, index + at, index + at + count))
      activation_row_faulty<kCode>(x + at, y + at, index + at, count, act, sink, &seen);
    else
      activation_row<kCode, true>(x + at, y + at, count, act, &seen);
    fold(seen, sink, index + at, count);
  }
}

// Any activation by its code; index: flat output index of y[0]. Compiled once (activation_rows.cpp), as it is large.
void apply_activation(const ActParams& p, const float* x, float* y, int64_t index, int64_t n, CheckSink* sink);

static_assert(kBlock <= kPaperBlock, "published_block keeps a block of the operand");

// Attribute `paper` = 1: the check is the one that MAED published. Only kernels that have one take it.
inline Status read_paper(const Request& r, Published f, bool* paper) {
  *paper = r.attrs.i("paper") != 0;
  return *paper && f == Published::none ? Status::bad_attribute : Status::ok;
}

template <int kCode> struct ActivationKernel {
  struct Params : ActParams {
    bool paper;
  };
  static Status resolve(const Request& r, Params* p) {
    EDGERUN_TRY(unary_operands(r, DType::f32, DType::f32));
    const bool gelu_tanh = kCode == kGelu && r.attrs.i("tanh") != 0;
    p->code = gelu_tanh ? static_cast<int32_t>(kGeluTanh) : kCode;
    p->alpha = r.attrs.f("act_alpha");
    p->beta = r.attrs.f("act_beta");
    if (kCode == kClip && !(p->alpha <= p->beta)) p->alpha = p->beta;  // ONNX: lo > hi gives hi everywhere
    return read_paper(r, published(kCode), &p->paper);
  }
  static Status query(const Request& r, Need* need) {
    Params p;
    EDGERUN_TRY(resolve(r, &p));
    need->params = sizeof p;
    const double work = kCode <= kLeakyRelu ? 1 : kCode == kHardSigmoid || kCode == kHardSwish ? 4 : 24;
    need_unary(r, p.paper ? kPaperWork : work, need);
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Params*>(params)); }
  static void run(const Run& r) {
    const Params& p = *static_cast<const Params*>(r.params);
    const ActVectors act(p);
    const float* x = r.in[0].as<const float>();
    float* y = r.out[0].as<float>();
    const int64_t end = least(r.end * kBlock, r.out[0].elements());
    for (int64_t k = r.begin * kBlock; k < end; k += kBlock) {
      const int64_t n = least(kBlock, end - k);
      if (EDGERUN_UNLIKELY(p.paper && r.sink))
        published_block(published(kCode), x + k, y + k, k, n, r.sink,
                        [&] { activation_block<kCode>(x + k, y + k, k, n, act, nullptr); });
      else if (kCode == kGelu && p.code == kGeluTanh)
        activation_block<kGeluTanh>(x + k, y + k, k, n, act, r.sink);
      else
        activation_block<kCode>(x + k, y + k, k, n, act, r.sink);
    }
  }
};

#define EDGERUN_ACTIVATION(OP, CODE)                                                                              \
  extern const Kernel OP##_f32_kernel{#OP "_f32", ActivationKernel<CODE>::query, ActivationKernel<CODE>::prepare, \
                                      ActivationKernel<CODE>::run};

}  // namespace edgerun::EDGERUN_ISA
