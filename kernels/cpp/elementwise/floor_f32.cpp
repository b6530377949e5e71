// floor_f32: y = the largest integer not above x. In place allowed.
#include "vector_unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static constexpr double kWork = 1;
  EDGERUN_INLINE static vf v(vf x) { return EDGERUN_ISA::floor(x); }
};
}  // namespace
EDGERUN_VECTOR_UNARY(floor, VectorUnary)
EDGERUN_ISA_END
