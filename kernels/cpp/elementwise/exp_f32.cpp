// exp_f32: y = e^x, 2 ulp. NaN stays NaN; in place allowed.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static constexpr double kWork = 16;
  EDGERUN_INLINE static vf v(vf x) { return EDGERUN_ISA::exp(x); }
};
}  // namespace
EDGERUN_VECTOR_UNARY(exp)
EDGERUN_ISA_END
