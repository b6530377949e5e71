// exp_f32: y = e^x, 2 ulp. NaN stays NaN; in place allowed. Check: y e^-x = 1, e^-x from the same even and odd polynomial.
#include "vector_unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static constexpr double kWork = 16;
  static constexpr Published kPublished = Published::exp;
  EDGERUN_INLINE static vf v(vf x) { return EDGERUN_ISA::exp(x); }

  // y is scaled by 2^-n in two steps, and held against e^-r, |r| <= ln 2 / 2. Results below kFloor are let pass.
  EDGERUN_INLINE static void check(vf x, vf y, Checker& seen) {
    const vf one = broadcast(1.f), tau = broadcast(kTau);
    const ExpParts e = exp_parts(clamp(broadcast(-105.f), broadcast(89.f), x));
    const vi half = e.n >> 1;
    const vi inverse = broadcast_int(254 << 23);  // minus the bits of 2^k: those of 2^-k
    const vf first = as_float(inverse - as_int(exp2_int(half))), second = as_float(inverse - as_int(exp2_int(e.n - half)));
    const vf scaled = mul(mul(y, first), second);
    const vf residual = sub(fma(scaled, e.minus, scaled), one);
    const vf slack = add(tau, mul(mul(broadcast(kFloor), first), second));
    // Where e^x is at the end of the range (88.72) or beyond, y must be as well: the largest numbers or infinity.
    const vm over = less(broadcast(88.72f), x);
    const vm wrong = (~over & not_less_equal(abs(residual), slack)) | (over & ~less(broadcast(3.39e38f), y));
    seen.violated(wrong & ~(is_nan(x) & is_nan(y)));
  }
};
}  // namespace
EDGERUN_VECTOR_UNARY(exp, CheckedUnary)
EDGERUN_ISA_END
