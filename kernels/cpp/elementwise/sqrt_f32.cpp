// sqrt_f32: y = √x, correctly rounded; NaN below 0. In place allowed.
#include "vector_unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static constexpr double kWork = 4;
  EDGERUN_INLINE static vf v(vf x) { return EDGERUN_ISA::sqrt(x); }
};
}  // namespace
EDGERUN_VECTOR_UNARY(sqrt, VectorUnary)
EDGERUN_ISA_END
