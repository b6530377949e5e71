// max: y = a > b ? a : b, broadcast; NaN when either is NaN. f32 has a fused, checked activation.
#include "arithmetic.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  template <class T> static T f(T a, T b) { return a != a ? a : a > b ? a : b; }
  EDGERUN_INLINE static vf v(vf a, vf b) { return EDGERUN_ISA::max_nan(a, b); }
};
}  // namespace
EDGERUN_ARITHMETIC(max)
EDGERUN_ISA_END
