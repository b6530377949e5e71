// y = Op::v(x) over vectors: log, sqrt, floor and ceil, which have no check, and exp and erf, which have one: Op::check(x, y, seen) verifies
// that y = Op::v(x) by an identity and takes the right infinity, zero or NaN for right. The output may be the input's buffer.
#pragma once
#include "activation_rows.h"

namespace edgerun::EDGERUN_ISA {

// Calls f(offset, lanes) for whole vectors and for what is left.
template <class F> EDGERUN_SIMD void each_lanes(int64_t n, const F& f) {
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) f(k, kLanes);
  if (k < n) f(k, static_cast<int>(n - k));
}

EDGERUN_SIMD vf load_lanes(const float* p, int n) { return n == kLanes ? loadu(p) : load_partial(p, n); }
EDGERUN_SIMD void store_lanes(float* p, vf v, int n) { return n == kLanes ? storeu(p, v) : store_partial(p, v, n); }

template <class Op> inline void vector_block(const float* x, float* y, int64_t n) {
  each_lanes(n, [&](int64_t k, int lanes)
                    __attribute__((always_inline)) { store_lanes(y + k, Op::v(load_lanes(x + k, lanes)), lanes); });
}

template <class Op> inline void checked_block(const float* x, float* y, int64_t index, int64_t n, CheckSink* sink) {
  Checker seen;
  const bool faulty = fault_in(sink, index, index + n);
  each_lanes(
      n, [&](int64_t k, int lanes) __attribute__((always_inline)) {
        const vf v = load_lanes(x + k, lanes);
        vf out = Op::v(v);
        if (EDGERUN_UNLIKELY(faulty)) out = flipped(out, fault_lanes(sink, index + k));
        Op::check(v, out, seen);
        store_lanes(y + k, out, lanes);
      });
  fold(seen, sink, index, n);
}

// No check: a sink is ignored.
template <class Op> struct VectorUnary {
  static Status query(const Request& r, Need* need) {
    EDGERUN_TRY(unary_operands(r, DType::f32, DType::f32));
    need_unary(r, Op::kWork, need);
    return Status::ok;
  }
  static Status prepare(const Request&, void*, void*) { return Status::ok; }
  static void run(const Run& r) {
    const int64_t begin = r.begin * kBlock, end = least(r.end * kBlock, r.out[0].elements());
    vector_block<Op>(r.in[0].as<const float>() + begin, r.out[0].as<float>() + begin, end - begin);
  }
};

// Op::kPublished: the check of attribute `paper`.
template <class Op> struct CheckedUnary {
  struct Params {
    bool paper;
  };
  static Status resolve(const Request& r, Params* p) {
    EDGERUN_TRY(unary_operands(r, DType::f32, DType::f32));
    return read_paper(r, Op::kPublished, &p->paper);
  }
  static Status query(const Request& r, Need* need) {
    Params p;
    EDGERUN_TRY(resolve(r, &p));
    need->params = sizeof p;
    need_unary(r, p.paper ? kPaperWork : Op::kWork, need);
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Params*>(params)); }
  static void run(const Run& r) {
    const bool paper = static_cast<const Params*>(r.params)->paper;
    const float* x = r.in[0].as<const float>();
    float* y = r.out[0].as<float>();
    const int64_t end = least(r.end * kBlock, r.out[0].elements());
    for (int64_t k = r.begin * kBlock; k < end; k += kBlock) {
      const int64_t n = least(kBlock, end - k);
      if (!r.sink)
        vector_block<Op>(x + k, y + k, n);
      else if (EDGERUN_UNLIKELY(paper))
        published_block(Op::kPublished, x + k, y + k, k, n, r.sink, [&] { vector_block<Op>(x + k, y + k, n); });
      else
        checked_block<Op>(x + k, y + k, k, n, r.sink);
    }
  }
};

#define EDGERUN_VECTOR_UNARY(OP, FORM) \
  extern const Kernel OP##_f32_kernel{#OP "_f32", FORM<Op>::query, FORM<Op>::prepare, FORM<Op>::run};

}  // namespace edgerun::EDGERUN_ISA
