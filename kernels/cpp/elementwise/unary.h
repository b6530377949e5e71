// One operand, one result of the same shape: y = Op(x), in blocks. The output may be the input's buffer.
#pragma once
#include "nest.h"
#include "types.h"

namespace edgerun::EDGERUN_ISA {

inline Status unary_operands(const Request& r, DType in, DType out) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  EDGERUN_TRY(sound(r.in[0], in));
  EDGERUN_TRY(sound(r.out[0], out));
  return same_dims(r.in[0], r.out[0]) ? Status::ok : Status::bad_shape;
}

inline void need_unary(const Request& r, double work, Need* need) {
  const int64_t n = r.out[0].elements();
  need->units = ceil_div(n, kBlock);
  need->work = work * static_cast<double>(n);
  need->bytes = static_cast<double>(n) * static_cast<double>(size_of(r.in[0].dtype) + size_of(r.out[0].dtype));
}

template <class Op, class T, class U> struct Unary {
  static Status query(const Request& r, Need* need) {
    EDGERUN_TRY(unary_operands(r, TypeOf<T>::code, TypeOf<U>::code));
    need_unary(r, 1, need);
    return Status::ok;
  }
  static Status prepare(const Request&, void*, void*) { return Status::ok; }
  static void run(const Run& r) {
    const T* x = r.in[0].as<const T>();
    U* y = r.out[0].as<U>();
    const int64_t end = least(r.end * kBlock, r.out[0].elements());
    EDGERUN_IVDEP
    for (int64_t k = r.begin * kBlock; k < end; ++k) y[k] = Op::f(x[k]);
  }
};

#define EDGERUN_UNARY(OP, SUFFIX, T)                                                                            \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, Unary<Op, T, T>::query, Unary<Op, T, T>::prepare, \
                                             Unary<Op, T, T>::run};

}  // namespace edgerun::EDGERUN_ISA
