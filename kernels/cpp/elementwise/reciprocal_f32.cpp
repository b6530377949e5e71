// reciprocal_f32: y = 1 / x. In place allowed.
#include "vector_unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static constexpr double kWork = 4;
  EDGERUN_INLINE static vf v(vf x) { return div(broadcast(1.f), x); }
};
}  // namespace
EDGERUN_VECTOR_UNARY(reciprocal, VectorUnary)
EDGERUN_ISA_END
