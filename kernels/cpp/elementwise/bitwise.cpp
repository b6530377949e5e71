// bitwise_and, bitwise_or, bitwise_xor, bitwise_not, shift_left, shift_right of integers. A shift by a negative number, by the width
// or by more gives 0, and -1 for a negative number shifted right, which keeps its sign. Broadcast.
#include "binary.h"
#include "unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct bitwise_and {
  template <class T> static T f(T a, T b) { return static_cast<T>(a & b); }
};
struct bitwise_or {
  template <class T> static T f(T a, T b) { return static_cast<T>(a | b); }
};
struct bitwise_xor {
  template <class T> static T f(T a, T b) { return static_cast<T>(a ^ b); }
};
struct bitwise_not {
  template <class T> static T f(T x) { return static_cast<T>(~x); }
};
template <class T> bool within_width(T b) { return b >= 0 && static_cast<typename TypeOf<T>::Wrap>(b) < 8 * sizeof(T); }
struct shift_left {
  template <class T> static T f(T a, T b) {
    return within_width(b) ? static_cast<T>(static_cast<typename TypeOf<T>::Wrap>(a) << b) : T{0};
  }
};
struct shift_right {
  template <class T> static T f(T a, T b) {
    return within_width(b) ? static_cast<T>(a >> b) : static_cast<T>(a < 0 ? -1 : 0);
  }
};
}  // namespace

#define EDGERUN_FOR_INTEGERS(OP, MAKE)                                                                             \
  MAKE(OP, i8, int8_t) MAKE(OP, u8, uint8_t) MAKE(OP, i16, int16_t) MAKE(OP, u16, uint16_t) MAKE(OP, i32, int32_t) \
      MAKE(OP, u32, uint32_t) MAKE(OP, i64, int64_t) MAKE(OP, u64, uint64_t)
#define EDGERUN_BITS(OP, SUFFIX, T)                                                                                   \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, Binary<OP, T, T>::query, Binary<OP, T, T>::prepare, \
                                             Binary<OP, T, T>::run};
#define EDGERUN_FLIP(OP, SUFFIX, T)                                                                             \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, Unary<OP, T, T>::query, Unary<OP, T, T>::prepare, \
                                             Unary<OP, T, T>::run};
EDGERUN_FOR_INTEGERS(bitwise_and, EDGERUN_BITS)
EDGERUN_FOR_INTEGERS(bitwise_or, EDGERUN_BITS)
EDGERUN_FOR_INTEGERS(bitwise_xor, EDGERUN_BITS)
EDGERUN_FOR_INTEGERS(bitwise_not, EDGERUN_FLIP)
EDGERUN_FOR_INTEGERS(shift_left, EDGERUN_BITS)
EDGERUN_FOR_INTEGERS(shift_right, EDGERUN_BITS)
EDGERUN_ISA_END
