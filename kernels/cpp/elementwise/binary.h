// Two broadcast operands, one result: y = Op(a, b). The output may be the buffer of an operand of the same shape.
#pragma once
#include "nest.h"
#include "types.h"

namespace edgerun::EDGERUN_ISA {

template <class Op, class T, class U>
inline void binary_row(const T* a, bool a_scalar, const T* b, bool b_scalar, U* y, int64_t n) {
  if (a_scalar) {
    const T v = *a;
    if (b_scalar) {
      const U w = Op::f(v, *b);
      for (int64_t k = 0; k < n; ++k) y[k] = w;
      return;
    }
    EDGERUN_IVDEP
    for (int64_t k = 0; k < n; ++k) y[k] = Op::f(v, b[k]);
  } else if (b_scalar) {
    const T v = *b;
    EDGERUN_IVDEP
    for (int64_t k = 0; k < n; ++k) y[k] = Op::f(a[k], v);
  } else {
    EDGERUN_IVDEP
    for (int64_t k = 0; k < n; ++k) y[k] = Op::f(a[k], b[k]);
  }
}

// The shared part of every binary kernel (nest.cpp).
Status binary_operands(const Request& r, DType in, DType out);
Status query_binary(const Request& r, Need* need, DType in, DType out);
Status prepare_binary(const Request& r, void* params, DType in, DType out);

template <class Op, class T, class U> struct Binary {
  static Status query(const Request& r, Need* need) { return query_binary(r, need, TypeOf<T>::code, TypeOf<U>::code); }
  static Status prepare(const Request& r, void* params, void*) {
    return prepare_binary(r, params, TypeOf<T>::code, TypeOf<U>::code);
  }
  static void row(const Run& r, const char* const* x, const bool* scalar, int64_t index, int64_t n) {
    binary_row<Op>(reinterpret_cast<const T*>(x[0]), scalar[0], reinterpret_cast<const T*>(x[1]), scalar[1],
                   r.out[0].as<U>() + index, n);
  }
  static void run(const Run& r) { walk(*static_cast<const Nest*>(r.params), r, row); }
};

#define EDGERUN_BINARY(OP, SUFFIX, T)                                                                             \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, Binary<Op, T, T>::query, Binary<Op, T, T>::prepare, \
                                             Binary<Op, T, T>::run};
#define EDGERUN_COMPARE(OP, SUFFIX, T)                                                    \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, Binary<Op, T, Bool>::query, \
                                             Binary<Op, T, Bool>::prepare, Binary<Op, T, Bool>::run};
// The integer and f64 variants of an operator whose f32 variant has a fused activation.
#define EDGERUN_FOR_OTHER_NUMBERS(OP, MAKE)                                                                        \
  MAKE(OP, f64, double)                                                                                            \
  MAKE(OP, i8, int8_t) MAKE(OP, u8, uint8_t) MAKE(OP, i16, int16_t) MAKE(OP, u16, uint16_t) MAKE(OP, i32, int32_t) \
      MAKE(OP, u32, uint32_t) MAKE(OP, i64, int64_t) MAKE(OP, u64, uint64_t)

}  // namespace edgerun::EDGERUN_ISA
