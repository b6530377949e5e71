// div: y = a / b, broadcast; integers truncate toward zero, x / 0 = 0 and INT_MIN / −1 wraps, so nothing traps.
// f32 has a fused, checked activation.
#include "arithmetic.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  template <class T> static T f(T a, T b) {
    if constexpr (TypeOf<T>::is_float) {
      return a / b;
    } else {
      if (b == 0) return 0;
      if constexpr (TypeOf<T>::is_signed)
        if (b == -1) return static_cast<T>(typename TypeOf<T>::Wrap{0} - wrapped(a));
      return static_cast<T>(a / b);
    }
  }
  EDGERUN_INLINE static vf v(vf a, vf b) { return EDGERUN_ISA::div(a, b); }
};
}  // namespace
EDGERUN_ARITHMETIC(div)
EDGERUN_ISA_END
