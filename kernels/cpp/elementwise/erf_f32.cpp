// erf_f32: y = erf x, 2 ulp. NaN stays NaN; in place allowed.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static constexpr double kWork = 24;
  EDGERUN_INLINE static vf v(vf x) { return EDGERUN_ISA::erf(x); }
};
}  // namespace
EDGERUN_VECTOR_UNARY(erf)
EDGERUN_ISA_END
