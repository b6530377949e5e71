// The arithmetic operators: all number types, and for f32 an activation applied to each block while it is in cache
// (ReLU, the common one, in the same pass).
#pragma once
#include "activation_rows.h"
#include "binary.h"

namespace edgerun::EDGERUN_ISA {

// The value in a type whose arithmetic is defined on overflow.
template <class T> inline typename TypeOf<T>::Wrap wrapped(T a) { return static_cast<typename TypeOf<T>::Wrap>(a); }

struct ArithmeticParams {
  Nest nest;
  ActParams act;
};

template <class Op, bool kChecked>
inline void relu_row(const float* a, bool a_scalar, const float* b, bool b_scalar, float* y, int64_t n, Checker* seen) {
  const ActVectors act{ActParams{}};
  const vf av = broadcast(*a), bv = broadcast(*b);
  Checker local;
  int64_t k = 0;
  for (; k + kPack * kLanes <= n; k += kPack * kLanes) {
    vf pack[kPack];
    for (int c = 0; c < kPack; ++c)
      pack[c] = Op::v(a_scalar ? av : loadu(a + k + c * kLanes), b_scalar ? bv : loadu(b + k + c * kLanes));
    activate_pack<kRelu, kChecked>(pack, act, local);
    for (int c = 0; c < kPack; ++c) storeu(y + k + c * kLanes, pack[c]);
  }
  for (; k < n; k += kLanes) {
    const int rest = static_cast<int>(least(kLanes, n - k));
    const vf v = Op::v(a_scalar ? av : load_partial(a + k, rest), b_scalar ? bv : load_partial(b + k, rest));
    const vf inside = as_float(as_int(v) & first_lanes(rest));  // what lies beyond the row may be x / 0
    store_partial(y + k, activate<kRelu, kChecked>(inside, act, local), rest);
  }
  seen->join(local);
}

template <class Op> struct Arithmetic {
  static Status resolve(const Request& r, ArithmeticParams* p) {
    EDGERUN_TRY(binary_operands(r, DType::f32, DType::f32));
    EDGERUN_TRY(read_activation(r.attrs, &p->act));
    plan_nest(r, &p->nest);
    return Status::ok;
  }
  static Status query(const Request& r, Need* need) {
    ArithmeticParams p;
    EDGERUN_TRY(resolve(r, &p));
    need_nest(r, p.nest, need);
    need->params = sizeof p;
    if (p.act.code > kLeakyRelu) need->work *= 16;
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    return resolve(r, static_cast<ArithmeticParams*>(params));
  }

  static void row(const ActParams& act, const float* a, bool a_scalar, const float* b, bool b_scalar, float* y,
                  int64_t index, int64_t n, CheckSink* sink) {
    if (act.code == kNone) return binary_row<Op>(a, a_scalar, b, b_scalar, y, n);
    if (act.code != kRelu || fault_in(sink, index, index + n)) {
      binary_row<Op>(a, a_scalar, b, b_scalar, y, n);
      return apply_activation(act, y, y, index, n, sink);
    }
    Checker seen;
    if (!sink) return relu_row<Op, false>(a, a_scalar, b, b_scalar, y, n, &seen);
    relu_row<Op, true>(a, a_scalar, b, b_scalar, y, n, &seen);
    fold(seen, sink, index, n);
  }

  static void rows(const Run& r, const char* const* x, const bool* scalar, int64_t index, int64_t count) {
    const ActParams& act = static_cast<const ArithmeticParams*>(r.params)->act;
    const float *a = reinterpret_cast<const float*>(x[0]), *b = reinterpret_cast<const float*>(x[1]);
    const int64_t step = act.code == kNone ? count : 1024;
    for (int64_t k = 0; k < count; k += step)
      row(act, scalar[0] ? a : a + k, scalar[0], scalar[1] ? b : b + k, scalar[1], r.out[0].as<float>() + index + k,
          index + k, least(step, count - k), r.sink);
  }
  static void run(const Run& r) { walk(static_cast<const ArithmeticParams*>(r.params)->nest, r, rows); }
};

#define EDGERUN_ARITHMETIC(OP)                                                                    \
  extern const Kernel OP##_f32_kernel{#OP "_f32", Arithmetic<Op>::query, Arithmetic<Op>::prepare, \
                                      Arithmetic<Op>::run};                                       \
  EDGERUN_FOR_OTHER_NUMBERS(OP, EDGERUN_BINARY)

}  // namespace edgerun::EDGERUN_ISA
