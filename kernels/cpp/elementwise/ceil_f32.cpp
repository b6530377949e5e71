// ceil_f32: y = the smallest integer not below x. In place allowed.
#include "vector_unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static constexpr double kWork = 1;
  EDGERUN_INLINE static vf v(vf x) { return EDGERUN_ISA::ceil(x); }
};
}  // namespace
EDGERUN_VECTOR_UNARY(ceil, VectorUnary)
EDGERUN_ISA_END
