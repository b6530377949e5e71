// pow: y = a^b, broadcast. f32 follows powf (NaN for a negative base and a fraction), with exact short cuts for the
// constant exponents 2, 1, 0.5, 0 and −1. Integers wrap; a negative exponent gives 0 unless the base is 1 or −1 (0^−n =
// 0, no trap).
#include "binary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static float f(float a, float b) { return __builtin_powf(a, b); }
  template <class T> static T f(T a, T b) {
    using U = typename TypeOf<T>::Wrap;
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
    U result = 1, base = static_cast<U>(a);
    for (U e = static_cast<U>(b); e; e >>= 1, base *= base)
      if (e & 1) result *= base;
    return static_cast<T>(result);
  }
};

// powf is slow (a call an element): the exponents of real models are constants. False: not one of them.
inline bool power_of_scalar(const float* x, float e, float* y, int64_t n) {
  if (e == 2.f) {
    EDGERUN_IVDEP
    for (int64_t k = 0; k < n; ++k) y[k] = x[k] * x[k];
  } else if (e == 1.f) {
    EDGERUN_IVDEP
    for (int64_t k = 0; k < n; ++k) y[k] = x[k];
  } else if (e == 0.5f) {  // unlike the root, powf maps −inf to +inf and −0 to +0
    EDGERUN_IVDEP
    for (int64_t k = 0; k < n; ++k) y[k] = x[k] == -__builtin_inff() ? __builtin_inff() : __builtin_sqrtf(x[k] + 0.f);
  } else if (e == 0.f) {
    for (int64_t k = 0; k < n; ++k) y[k] = 1.f;
  } else if (e == -1.f) {
    EDGERUN_IVDEP
    for (int64_t k = 0; k < n; ++k) y[k] = 1.f / x[k];
  } else {
    return false;
  }
  return true;
}

void row_f32(const Run& r, const char* const* x, const bool* scalar, int64_t index, int64_t n) {
  const float *a = reinterpret_cast<const float*>(x[0]), *b = reinterpret_cast<const float*>(x[1]);
  float* y = r.out[0].as<float>() + index;
  if (scalar[1] && !scalar[0] && power_of_scalar(a, *b, y, n)) return;
  binary_row<Op>(a, scalar[0], b, scalar[1], y, n);
}

void run_f32(const Run& r) { walk(*static_cast<const Nest*>(r.params), r, row_f32); }
}  // namespace
extern const Kernel pow_f32_kernel{"pow_f32", Binary<Op, float, float>::query, Binary<Op, float, float>::prepare,
                                   run_f32};
EDGERUN_BINARY(pow, i32, int32_t)
EDGERUN_BINARY(pow, i64, int64_t)
EDGERUN_ISA_END
