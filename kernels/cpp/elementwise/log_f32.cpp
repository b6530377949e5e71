// log_f32: y = ln x, 2 ulp; log 0 = −inf, NaN below. In place allowed.
#include "vector_unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static constexpr double kWork = 20;
  EDGERUN_INLINE static vf v(vf x) { return EDGERUN_ISA::log(x); }
};
}  // namespace
EDGERUN_VECTOR_UNARY(log, VectorUnary)
EDGERUN_ISA_END
