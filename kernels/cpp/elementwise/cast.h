// cast: y = x in another type, C semantics made total: float → integer truncates, saturates and turns NaN into 0;
// integers wrap; anything → b8 is x ≠ 0 (NaN is true); → f16, bf16 and f32 round once, to nearest even, too large
// is infinite.
#pragma once
#include <cstring>

#include "unary.h"

namespace edgerun::EDGERUN_ISA {

inline uint32_t bits_of(float x) {
  uint32_t b;
  memcpy(&b, &x, 4);
  return b;
}
inline float float_of(uint32_t b) {
  float x;
  memcpy(&x, &b, 4);
  return x;
}

inline float widened(Half h) {
  const uint32_t sign = (h.v & 0x8000u) << 16, rest = h.v & 0x7fffu;
  if (rest >= 0x7c00u) return float_of(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  const float magnitude = float_of(rest << 13) * 0x1p112f;  // also right for subnormals
  return float_of(sign | bits_of(magnitude));
}

inline float widened(Brain b) { return float_of(static_cast<uint32_t>(b.v) << 16); }

template <class U> inline U narrowed(float x);

template <> inline Brain narrowed<Brain>(float x) {
  const uint32_t b = bits_of(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((b >> 16 & 0x8000u) | 0x7fc0u)};  // NaN stays NaN
  return {static_cast<uint16_t>((b + 0x7fffu + (b >> 16 & 1u)) >> 16)};
}

template <> inline Half narrowed<Half>(float x) {
  const uint32_t b = bits_of(x), sign = b >> 16 & 0x8000u, rest = b & 0x7fffffffu;
  uint32_t h;
  if (rest > 0x7f800000u)
    h = 0x7e00u | (rest >> 13 & 0x3ffu);  // NaN stays NaN
  else if (rest >= 0x477ff000u)
    h = 0x7c00u;  // 65520 and above round to infinity
  else if (rest < 0x38800000u)
    h = bits_of(float_of(rest) + 0.5f) - 0x3f000000u;  // subnormal: the addition rounds
  else
    h = (rest - 0x38000000u + 0xfffu + (rest >> 13 & 1u)) >> 13;
  return {static_cast<uint16_t>(sign | h)};
}

// To float with the last bit set where anything was lost (round to odd): rounding once more is then the same as
// rounding once.
inline float odd_float(double x) {
  const float f = static_cast<float>(x);
  const double back = f;
  if (back == x || x != x) return f;
  uint32_t b = bits_of(f);
  if ((back < 0 ? -back : back) > (x < 0 ? -x : x)) --b;
  return float_of(b | 1u);
}

template <class U, class F> inline U saturated(F x) {
  constexpr F low = static_cast<F>(TypeOf<U>::low),
              high = static_cast<F>(TypeOf<U>::high);  // high may round up: use >=
  if (!(x > low)) return x != x ? U{0} : TypeOf<U>::low;
  return x >= high ? TypeOf<U>::high : static_cast<U>(x);
}

template <class T> inline constexpr bool kStored = sizeof(T) == 2 && TypeOf<T>::is_float;  // f16, bf16: no arithmetic of its own

template <class T, class U> struct Cast {
  static U f(T x) {
    if constexpr (kStored<T>) {
      return Cast<float, U>::f(widened(x));
    } else if constexpr (TypeOf<T>::code == DType::b8) {
      return Cast<uint8_t, U>::f(static_cast<uint8_t>(x.v != 0));
    } else if constexpr (TypeOf<U>::code == DType::b8) {
      return {static_cast<uint8_t>(x != 0)};
    } else if constexpr (kStored<U>) {
      // What float does not hold must not be rounded to float first: doubles, and for bf16 large integers too (every
      // integer below 65520, where f16 ends, is exact in float).
      if constexpr (TypeOf<T>::code == DType::f64 || (TypeOf<U>::code == DType::bf16 && !TypeOf<T>::is_float && sizeof(T) > 2))
        return narrowed<U>(odd_float(static_cast<double>(x)));
      else
        return narrowed<U>(static_cast<float>(x));
    } else if constexpr (TypeOf<T>::is_float && !TypeOf<U>::is_float) {
      return saturated<U>(x);
    } else {
      return static_cast<U>(x);
    }
  }
};

#define EDGERUN_CAST(FROM, T, TO, U)                                                                     \
  extern const Kernel cast_##FROM##_##TO##_kernel{"cast_" #FROM "_" #TO, Unary<Cast<T, U>, T, U>::query, \
                                                  Unary<Cast<T, U>, T, U>::prepare, Unary<Cast<T, U>, T, U>::run};

}  // namespace edgerun::EDGERUN_ISA
