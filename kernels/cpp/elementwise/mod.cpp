// mod: the remainder with the sign of the divisor, a zero one too. fmod: with the sign of the dividend, floats as the C library.
// An integer divisor of 0 gives 0. Broadcast.
#include <cmath>

#include "binary.h"

EDGERUN_ISA_BEGIN
namespace {
struct fmod {
  static float f(float a, float b) { return __builtin_fmodf(a, b); }
  static double f(double a, double b) { return __builtin_fmod(a, b); }
  template <class T> static T f(T a, T b) {
    if (b == 0) return 0;
    if constexpr (TypeOf<T>::is_signed)
      if (b == -1) return 0;  // the smallest value by −1 would trap
    return static_cast<T>(a % b);
  }
};
struct mod {
  template <class T> static T f(T a, T b) {
    const T rest = EDGERUN_ISA::fmod::f(a, b);
    if constexpr (TypeOf<T>::is_float)
      if (rest == 0) return std::copysign(rest, b);
    if constexpr (TypeOf<T>::is_signed)
      if (rest != 0 && (rest < 0) != (b < 0)) return static_cast<T>(rest + b);
    return rest;
  }
};
}  // namespace

#define EDGERUN_MOD(OP, SUFFIX, T)                                                                                    \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, Binary<OP, T, T>::query, Binary<OP, T, T>::prepare, \
                                             Binary<OP, T, T>::run};
#define EDGERUN_FOR_INTEGERS(OP)                                                                             \
  EDGERUN_MOD(OP, i8, int8_t) EDGERUN_MOD(OP, u8, uint8_t) EDGERUN_MOD(OP, i16, int16_t)                     \
  EDGERUN_MOD(OP, u16, uint16_t) EDGERUN_MOD(OP, i32, int32_t) EDGERUN_MOD(OP, u32, uint32_t)                \
  EDGERUN_MOD(OP, i64, int64_t) EDGERUN_MOD(OP, u64, uint64_t)
EDGERUN_FOR_INTEGERS(mod)
EDGERUN_FOR_INTEGERS(fmod)
EDGERUN_MOD(fmod, f32, float)
EDGERUN_MOD(fmod, f64, double)
EDGERUN_MOD(mod, f32, float)
EDGERUN_MOD(mod, f64, double)
EDGERUN_ISA_END
