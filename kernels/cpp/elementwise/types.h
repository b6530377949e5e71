// Element types and what arithmetic on them means here: integers wrap, division by zero gives 0, nothing traps.
#pragma once
#include "operand.h"

namespace edgerun::EDGERUN_ISA {

struct Bool {
  uint8_t v;
};  // any non-zero byte is true; written as 0 or 1
struct Half {
  uint16_t v;
};  // IEEE binary16 bits
struct Brain {
  uint16_t v;
};  // bfloat16: the upper half of an IEEE binary32

template <class T> struct TypeOf;
#define EDGERUN_TYPE(T, CODE, UNSIGNED, IS_FLOAT, IS_SIGNED, LOW, HIGH)                                     \
  template <> struct TypeOf<T> {                                                                            \
    using Wrap = UNSIGNED; /* unsigned type in which arithmetic cannot overflow into undefined behaviour */ \
    static constexpr DType code = DType::CODE;                                                              \
    static constexpr bool is_float = IS_FLOAT, is_signed = IS_SIGNED;                                       \
    static constexpr T low = LOW, high = HIGH;                                                              \
  };
EDGERUN_TYPE(float, f32, float, true, true, 0, 0)
EDGERUN_TYPE(double, f64, double, true, true, 0, 0)
EDGERUN_TYPE(int8_t, i8, uint32_t, false, true, INT8_MIN, INT8_MAX)
EDGERUN_TYPE(uint8_t, u8, uint32_t, false, false, 0, UINT8_MAX)
EDGERUN_TYPE(int16_t, i16, uint32_t, false, true, INT16_MIN, INT16_MAX)
EDGERUN_TYPE(uint16_t, u16, uint32_t, false, false, 0, UINT16_MAX)
EDGERUN_TYPE(int32_t, i32, uint32_t, false, true, INT32_MIN, INT32_MAX)
EDGERUN_TYPE(uint32_t, u32, uint32_t, false, false, 0, UINT32_MAX)
EDGERUN_TYPE(int64_t, i64, uint64_t, false, true, INT64_MIN, INT64_MAX)
EDGERUN_TYPE(uint64_t, u64, uint64_t, false, false, 0, UINT64_MAX)
#undef EDGERUN_TYPE
template <> struct TypeOf<Bool> {
  static constexpr DType code = DType::b8;
  static constexpr bool is_float = false, is_signed = false;
};
template <> struct TypeOf<Half> {
  static constexpr DType code = DType::f16;
  static constexpr bool is_float = true, is_signed = true;
};
template <> struct TypeOf<Brain> {
  static constexpr DType code = DType::bf16;
  static constexpr bool is_float = true, is_signed = true;
};

// MAKE(OP, suffix, C++ type) for the dtype sets N and A of the catalogue.
#define EDGERUN_FOR_NUMBERS(OP, MAKE)                                                                             \
  MAKE(OP, f32, float)                                                                                            \
  MAKE(OP, f64, double) MAKE(OP, i8, int8_t) MAKE(OP, u8, uint8_t) MAKE(OP, i16, int16_t) MAKE(OP, u16, uint16_t) \
      MAKE(OP, i32, int32_t) MAKE(OP, u32, uint32_t) MAKE(OP, i64, int64_t) MAKE(OP, u64, uint64_t)
#define EDGERUN_FOR_ALL(OP, MAKE) EDGERUN_FOR_NUMBERS(OP, MAKE) MAKE(OP, b8, Bool)

}  // namespace edgerun::EDGERUN_ISA
