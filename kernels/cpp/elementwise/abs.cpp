// abs: y = |x|; the smallest signed integer wraps to itself.
#include "unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static float f(float x) { return __builtin_fabsf(x); }
  static double f(double x) { return __builtin_fabs(x); }
  template <class T> static T f(T x) {
    if constexpr (TypeOf<T>::is_signed)
      return x < 0 ? static_cast<T>(typename TypeOf<T>::Wrap{0} - static_cast<typename TypeOf<T>::Wrap>(x)) : x;
    else
      return x;
  }
};
}  // namespace
EDGERUN_FOR_NUMBERS(abs, EDGERUN_UNARY)
EDGERUN_ISA_END
