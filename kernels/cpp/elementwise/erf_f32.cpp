// erf_f32: y = erf x, 2 ulp. NaN stays NaN; in place allowed. Check: y (1 + e^-l) = 1 - e^-l, e^l = Φ(√2 x) / Φ(-√2 x).
#include "vector_unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static constexpr double kWork = 24;
  static constexpr Published kPublished = Published::none;
  EDGERUN_INLINE static vf v(vf x) { return EDGERUN_ISA::erf(x); }
  EDGERUN_INLINE static void check(vf x, vf y, Checker& seen) {
    const vf z[1] = {clamp(broadcast(-kPhiRange), broadcast(kPhiRange), mul(x, broadcast(1.41421356237309505f)))};
    vf l[1];
    logit_phi(z, l);
    const vf m = expm1_pair(l[0]).minus;
    const vf residual = fma(y, add(m, broadcast(2.f)), m);
    const vm wrong = not_less_equal(abs(residual), fma(broadcast(2 * kTau), abs(m), broadcast(kFloor)));
    seen.violated(wrong & ~(is_nan(x) & is_nan(y)));
  }
};
}  // namespace
EDGERUN_VECTOR_UNARY(erf, CheckedUnary)
EDGERUN_ISA_END
