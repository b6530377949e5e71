// sub: y = a − b, broadcast; integers wrap. f32 has a fused, checked activation.
#include "arithmetic.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  template <class T> static T f(T a, T b) { return static_cast<T>(wrapped(a) - wrapped(b)); }
  EDGERUN_INLINE static vf v(vf a, vf b) { return EDGERUN_ISA::sub(a, b); }
};
}  // namespace
EDGERUN_ARITHMETIC(sub)
EDGERUN_ISA_END
