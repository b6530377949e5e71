// Two broadcast tensors of bytes, one of bytes: y = Op(a, b). The output may be the buffer of an operand of the same shape.
// Op: POD Params; Status resolve(Request, a, b, Params*); made from ByteParams<Op>; v8 operator()(v8 a, v8 b).
#pragma once
#include "elementwise/nest.h"
#include "quant/bytes.h"

namespace edgerun::EDGERUN_ISA {

template <class Op> struct ByteParams {
  Nest nest;
  ByteInput a, b;
  ByteOutput y;
  typename Op::Params op;
};

template <class Op, bool kAScalar, bool kBScalar>
inline void byte_row(const Op& op, const uint8_t* a, const uint8_t* b, uint8_t* y, int64_t n) {
  const v8 av = broadcast_byte(*a), bv = broadcast_byte(*b);
  int64_t k = 0;
  for (; k + kBytes <= n; k += kBytes)
    storeu_bytes(y + k, op(kAScalar ? av : loadu_bytes(a + k), kBScalar ? bv : loadu_bytes(b + k)));
  if (k == n) return;
  const int64_t rest = n - k;
  store_bytes_partial(
      y + k, op(kAScalar ? av : load_bytes_partial(a + k, rest), kBScalar ? bv : load_bytes_partial(b + k, rest)), rest);
}

template <class Op, DType T> struct ByteBinary {
  using Params = ByteParams<Op>;

  static Status resolve(const Request& r, Params* p) {
    EDGERUN_TRY(arity(r, 2, 2, 1));
    EDGERUN_TRY(sound(r.in[0], T));
    EDGERUN_TRY(sound(r.in[1]));
    EDGERUN_TRY(sound(r.out[0]));
    EDGERUN_TRY(byte_input(r, "a_zero", T, &p->a));
    EDGERUN_TRY(byte_input(r, "b_zero", r.in[1].dtype, &p->b));
    EDGERUN_TRY(byte_output(r, r.out[0].dtype, &p->y));
    EDGERUN_TRY(broadcast_shape(r));
    EDGERUN_TRY(Op::resolve(r, p->a, p->b, &p->op));
    plan_nest(r, &p->nest);
    return Status::ok;
  }
  static Status query(const Request& r, Need* need) {
    Params p;
    EDGERUN_TRY(resolve(r, &p));
    need_nest(r, p.nest, need);
    need->params = sizeof p;
    need->work *= 4;
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Params*>(params)); }

  static void row(const Run& r, const char* const* x, const bool* scalar, int64_t index, int64_t n) {
    const Op op(*static_cast<const Params*>(r.params));
    const uint8_t *a = reinterpret_cast<const uint8_t*>(x[0]), *b = reinterpret_cast<const uint8_t*>(x[1]);
    uint8_t* y = r.out[0].as<uint8_t>() + index;
    if (scalar[0]) return scalar[1] ? byte_row<Op, true, true>(op, a, b, y, n) : byte_row<Op, true, false>(op, a, b, y, n);
    return scalar[1] ? byte_row<Op, false, true>(op, a, b, y, n) : byte_row<Op, false, false>(op, a, b, y, n);
  }
  static void run(const Run& r) { walk(static_cast<const Params*>(r.params)->nest, r, row); }
};

#define EDGERUN_BYTE_BINARY(OP, SUFFIX)                                                              \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, ByteBinary<Op, DType::SUFFIX>::query,  \
                                             ByteBinary<Op, DType::SUFFIX>::prepare, ByteBinary<Op, DType::SUFFIX>::run};

// A scalar integer attribute that must be there.
inline bool required_int(const Request& r, const char* name, int64_t low, int64_t high, int32_t* out) {
  int64_t v;
  if (!ints(r, name, 1, &v) || v < low || v > high) return false;
  *out = static_cast<int32_t>(v);
  return true;
}

}  // namespace edgerun::EDGERUN_ISA
