// exp, log, erf over vectors.
//
// e^x: x = n ln 2 + r with |r| <= ln 2 / 2, and e^r split into its even and odd part (cosh r and sinh r), so that e^r and
// e^-r, hence e^x and e^-x, come from one pair of polynomials; the second is what the MAED checks of activation.h compare with.
// Coefficients: minimax fits of this project (cosh: 1e-10 absolute, sinh: 1.4e-8 relative or 2e-9 absolute, erf: 4e-8
// relative).
// ln(Φ / (1 − Φ)): 1e-8 absolute in Φ and relative in erf, which is the hyperbolic tangent of half of it.
// Accuracy, tested: exp 2 ulp, log 2 ulp, erf 2 ulp; NaN in, NaN out.
#pragma once
#include "simd.h"

EDGERUN_ISA_BEGIN

// e^r - 1 and e^-r - 1 for the remainder r, and n.
struct ExpParts {
  vf plus, minus;
  vi n;
};

// |x| <= 128 or NaN.
EDGERUN_SIMD ExpParts exp_parts(vf x) {
  const vf magic = broadcast(12582912.f);  // 1.5 * 2^23: rounds to the nearest integer
  const vf shifted = fma(x, broadcast(1.44269504088896341f), magic);
  const vi n = as_int(shifted) - as_int(magic);
  const vf nf = sub(shifted, magic);
  vf r = fma(nf, broadcast(-0.693359375f), x);  // ln 2 in two parts; n times the first is exact
  r = fma(nf, broadcast(2.12194440e-4f), r);
  const vf t = mul(r, r);
  const vf odd = fma(mul(fma(broadcast(0.00836675841602404f), t, broadcast(0.1666654168796807f)), t), r, r);
  const vf even = mul(fma(fma(broadcast(0.00139356467449672f), t, broadcast(0.0416664573195456f)), t, broadcast(0.5f)), t);
  return {add(even, odd), sub(even, odd), n};
}

EDGERUN_SIMD vf clamp(vf lo, vf hi, vf x) { return min(hi, max(lo, x)); }  // NaN stays NaN

// Any x; overflows to infinity and underflows through the denormals.
EDGERUN_SIMD vf exp(vf x) {
  const ExpParts e = exp_parts(clamp(broadcast(-105.f), broadcast(89.f), x));
  const vi half = e.n >> 1;  // 2^n in two factors: n reaches 128 and -152
  return mul(mul(add(e.plus, broadcast(1.f)), exp2_int(half)), exp2_int(e.n - half));
}

// e^x and e^-x for |x| <= 86 (both normal numbers) or NaN, for kCount vectors in lockstep: the chain of one vector is long, and
// the processor's window is too short to overlap several of them by itself. In base 2, x log2 e = n + f; the rounding of the
// product grows with |x| (1 ulp at 8, 13 ulp at 86), alike in both results.
template <int kCount>
EDGERUN_SIMD void exp_pairs(const vf (&x)[kCount], vf (&plus)[kCount], vf (&minus)[kCount]) {
  const vf log2e = broadcast(1.44269504088896341f), magic = broadcast(12582912.f);
  vf shifted[kCount], f[kCount], t[kCount], odd[kCount], even[kCount];
#define EDGERUN_EACH for (int i = 0; i < kCount; ++i)
  EDGERUN_EACH shifted[i] = fma(x[i], log2e, magic);
  EDGERUN_EACH f[i] = sub(magic, shifted[i]);
  EDGERUN_EACH f[i] = fma(x[i], log2e, f[i]);
  EDGERUN_EACH t[i] = mul(f[i], f[i]);
  EDGERUN_EACH odd[i] = fma(broadcast(0.00134007f), t[i], broadcast(0.05550327f));
  EDGERUN_EACH even[i] = fma(broadcast(0.000154673658f), t[i], broadcast(0.00961803617f));
  EDGERUN_EACH odd[i] = fma(odd[i], t[i], broadcast(0.69314721f));
  EDGERUN_EACH even[i] = fma(even[i], t[i], broadcast(0.240226511f));
  EDGERUN_EACH odd[i] = mul(odd[i], f[i]);
  EDGERUN_EACH even[i] = fma(even[i], t[i], broadcast(1.f));
  EDGERUN_EACH plus[i] = add(even[i], odd[i]);
  EDGERUN_EACH minus[i] = sub(even[i], odd[i]);
  // times 2^n and 2^-n: n is in the low bits of `shifted`
  EDGERUN_EACH plus[i] = as_float(as_int(plus[i]) + (as_int(shifted[i]) << 23));
  EDGERUN_EACH minus[i] = as_float(as_int(minus[i]) - (as_int(shifted[i]) << 23));
}

// e^x - 1 and e^-x - 1 for |x| <= 87 or NaN, accurate near 0.
struct ExpPair {
  vf plus, minus;
};
EDGERUN_SIMD ExpPair expm1_pair(vf x) {
  const ExpParts e = exp_parts(x);
  const vf up = exp2_int(e.n), down = exp2_int(-e.n), one = broadcast(1.f);
  return {fma(up, e.plus, sub(up, one)), fma(down, e.minus, sub(down, one))};
}

// log 0 = -inf, log of a negative number is NaN.
EDGERUN_SIMD vf log(vf x) {
  const vm tiny = less(x, broadcast(1.17549435e-38f));
  const vf scaled = select(tiny, mul(x, broadcast(8388608.f)), x);
  // m in [sqrt 1/2, sqrt 2): subtract the bits of sqrt 1/2, the exponent falls out of what is left
  const vi offset = (vi)((vu)as_int(scaled) - (vu)broadcast_int(0x3f3504f3));  // wraps where x < 0
  vf n = to_float(offset >> 23);
  n = sub(n, as_float(tiny & as_int(broadcast(23.f))));
  const vf f = sub(as_float((offset & broadcast_int(0x007fffff)) + broadcast_int(0x3f3504f3)), broadcast(1.f));
  // log(1 + f) = 2 atanh(s) = f - s (f - R), s = f / (2 + f), R = 2 (s^2 / 3 + s^4 / 5 + ...)
  const vf s = div(f, add(f, broadcast(2.f)));
  const vf t = mul(s, s);
  vf series = fma(t, broadcast(0.22222222f), broadcast(0.28571429f));
  series = fma(series, t, broadcast(0.4f));
  series = mul(fma(series, t, broadcast(0.66666667f)), t);
  const vf tail = fma(n, broadcast(-2.12194440e-4f), mul(s, sub(series, f)));
  const vf y = fma(n, broadcast(0.693359375f), add(f, tail));
  const vf infinity = broadcast(__builtin_inff());
  const vf special = select(equal(x, zero()), neg(infinity), select(less(x, zero()), broadcast(__builtin_nanf("")), x));
  return select(less(zero(), x) & less(x, infinity), y, special);
}

EDGERUN_SIMD vf erf(vf x) {
  const vf a = abs(x);
  const vf t = mul(x, x);
  vf near = fma(broadcast(-0.0005631439185653092f), t, broadcast(0.004917556140611873f));
  near = fma(near, t, broadcast(-0.026711316084827144f));
  near = fma(near, t, broadcast(0.11280180324097383f));
  near = fma(near, t, broadcast(-0.376123262253371f));
  near = mul(fma(near, t, broadcast(1.1283791225138422f)), a);
  // 1 - erfc, log erfc being a polynomial on [1, 4]
  const vf b = min(broadcast(4.f), a);
  vf far = fma(broadcast(0.00018557400598417928f), b, broadcast(-0.002939607265532551f));
  far = fma(far, b, broadcast(0.021805318175951216f));
  far = fma(far, b, broadcast(-0.10303736843261824f));
  far = fma(far, b, broadcast(-0.6382256776192747f));
  far = fma(far, b, broadcast(-1.1270400358056984f));
  far = fma(far, b, broadcast(-0.00035371953941930323f));
  const ExpParts e = exp_parts(far);
  far = sub(broadcast(1.f), mul(add(e.plus, broadcast(1.f)), exp2_int(e.n)));
  return copysign(select(less(a, broadcast(1.f)), near, far), x);
}

// ln(Φ(x) / Φ(−x)), Φ being the normal distribution: an odd function l with Φ = 1 / (1 + e^−l), so what holds of the sigmoid holds
// of Φ. |x| <= kPhiRange, where Φ is 1 or 0 to 1e-9; x times a polynomial in s = 2 (x / kPhiRange)^2 − 1.
inline constexpr float kPhiRange = 6.f;
inline constexpr float kPhi[] = {2.69029808f, 0.884520769f, -0.157362804f, 0.0161481686f, -0.119563334f,
                                 -0.069955796f, 0.185776755f, 0.430110425f, 0.352793276f, 0.0953493789f};

template <int kCount>
EDGERUN_SIMD void logit_phi(const vf (&x)[kCount], vf (&y)[kCount]) {
  vf s[kCount];
  EDGERUN_EACH s[i] = fma(mul(x[i], x[i]), broadcast(2 / (kPhiRange * kPhiRange)), broadcast(-1.f));
  EDGERUN_EACH y[i] = broadcast(kPhi[9]);
  for (int k = 8; k >= 0; --k)
    EDGERUN_EACH y[i] = fma(y[i], s[i], broadcast(kPhi[k]));
  EDGERUN_EACH y[i] = mul(y[i], x[i]);
}

// The same by other operations (pairs of terms instead of Horner's rule), to be compared with it: 3 ulp.
EDGERUN_SIMD vf logit_phi_again(vf x) {
  const vf s = fma(mul(x, broadcast(2 / (kPhiRange * kPhiRange))), x, broadcast(-1.f));
  const vf s2 = mul(s, s), s4 = mul(s2, s2);
  const vf a = fma(s, broadcast(kPhi[1]), broadcast(kPhi[0])), b = fma(s, broadcast(kPhi[3]), broadcast(kPhi[2]));
  const vf c = fma(s, broadcast(kPhi[5]), broadcast(kPhi[4])), d = fma(s, broadcast(kPhi[7]), broadcast(kPhi[6]));
  const vf e = fma(s, broadcast(kPhi[9]), broadcast(kPhi[8]));
  return mul(fma(fma(e, s4, fma(d, s2, c)), s4, fma(b, s2, a)), x);
}

EDGERUN_ISA_END
