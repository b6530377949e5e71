// Activations over vectors, each with its MAED check (papers: Ahmadi et al., MAED; identities made sound for floats).
//
// activate<code, checked>(x, constants, checker, flip): y = act(x), then y ^= flip (fault injection, zero otherwise), then the
// check on that y, which is returned. Checks compare y with a second evaluation that does not use the first one's result:
//   relu                y = max(0, x) against a selection on the sign bit of x, bit for bit
//   clip                y = min(hi, max(lo, x)) against max(lo, min(hi, x)), bit for bit
//   leaky_relu          y == max(0, x) + alpha min(x, 0)
//   sigmoid, silu       s (1 + e^-x) == 1 while s = e^x / (1 + e^x); e^x and e^-x from the even and odd polynomial
//   tanh, elu           likewise with e^x - 1 and e^-x - 1: t (m + 2) == -m, m = e^-2x - 1
//   hard_sigmoid        h(x) + h(-x) == 1 with the slope's offset mirrored; hard_swish: y(x) - y(-x) == x
//   gelu                x s(l) is checked as silu's x s(x) is, and l by another order of evaluation: e^l = Φ(x) / Φ(-x) (erf), or
//                       l = 2 sqrt(2 / pi) (x + 0.044715 x^3) (tanh)
//   none                no identity: only finiteness
// Tolerances are relative (kTau), with a floor far below anything a result could feel; fault-free runs raise nothing for any
// finite x (tested over all exponents). A non-finite x raises kNonFinite (and may raise kIdentity); only relu and clip let an
// infinity pass that they cut off, since their result is right and finite.
#pragma once
#include "check.h"
#include "vecmath.h"

EDGERUN_ISA_BEGIN

enum Activation : int32_t {
  kNone = 0, kRelu, kClip, kLeakyRelu, kSigmoid, kTanh, kHardSigmoid, kHardSwish, kSilu, kGelu, kGeluTanh, kElu,
  kActivationCount
};

inline constexpr float kTau = 16 * 5.9604645e-8f;  // 8 ulp: the two sides of an identity differ by at most 4 (tested)
inline constexpr float kFloor = 1e-36f;            // absolute slack where products underflow

// Plain data, part of a kernel's params.
struct ActParams {
  int32_t code = kNone;
  float alpha = 0.f, beta = 0.f;
};

EDGERUN_SIMD Status read_activation(const Attrs& attrs, ActParams* p) {
  p->code = static_cast<int32_t>(attrs.i("activation", 0));
  p->alpha = attrs.f("act_alpha", 0.f);
  p->beta = attrs.f("act_beta", 0.f);
  if (p->code < 0 || p->code >= kActivationCount) return Status::bad_attribute;
  if (p->code == kClip && !(p->alpha <= p->beta)) p->alpha = p->beta;  // ONNX: lo > hi gives hi everywhere
  return Status::ok;
}

// The parameters in registers, made once before a loop.
struct ActVectors {
  vf a, b, c;
  EDGERUN_INLINE explicit ActVectors(const ActParams& p) : a(broadcast(p.alpha)), b(broadcast(p.beta)) {
    c = zero();
    if (p.code == kHardSigmoid) c = broadcast(kTau * (1.f + (p.beta < 0 ? -p.beta : p.beta)));
  }
};

EDGERUN_SIMD vf flipped(vf y, vi flip) { return as_float(as_int(y) ^ flip); }

inline constexpr float kExpRange = 86.f;  // e^x and e^-x are normal numbers

inline constexpr float kTanhA = 1.59576912160573071f, kTanhB = 0.044715f;  // gelu's tanh form: l = a (x + b x^3)

constexpr bool is_smooth(int code) { return code == kSigmoid || code == kSilu || code == kGelu || code == kGeluTanh; }

// Sigmoid s(x), or x s(l) with l = x (SiLU) or as above (GELU), of kCount vectors in lockstep, in place: s = e^l / (1 + e^l), checked
// with e^-l: y + y e^-l == 1 (or x). Below -limit the result stays that of -limit, which is 0 for every purpose. `flip` hits the
// first vector.
template <int kCode, bool kChecked, int kCount>
EDGERUN_SIMD void smooth_pack(vf (&x)[kCount], Checker& seen, vi flip = vi{}) {
  const vf one = broadcast(1.f);
  const vf limit = broadcast(kCode == kGelu ? kPhiRange : kCode == kGeluTanh ? 12.f : kExpRange);
  vf scale[kCount], plus[kCount], minus[kCount], range[kCount], l[kCount];
  if (kChecked && kCode != kSilu) {
    EDGERUN_EACH seen.finite(x[i]);
  }
  EDGERUN_EACH scale[i] = max(neg(limit), x[i]);
  EDGERUN_EACH range[i] = min(limit, scale[i]);
  if constexpr (kCode == kGelu) {
    logit_phi(range, l);
    if (kChecked) {
      EDGERUN_EACH seen.near(logit_phi_again(max(neg(limit), min(limit, x[i]))), l[i]);
    }
    exp_pairs(l, plus, minus);
  } else if constexpr (kCode == kGeluTanh) {
    EDGERUN_EACH l[i] = mul(mul(range[i], broadcast(kTanhA)), fma(mul(range[i], range[i]), broadcast(kTanhB), one));
    if (kChecked) {
      vf c[kCount];
      EDGERUN_EACH c[i] = max(neg(limit), min(limit, x[i]));
      EDGERUN_EACH seen.near(fma(mul(mul(c[i], c[i]), c[i]), broadcast(kTanhA * kTanhB), mul(c[i], broadcast(kTanhA))), l[i]);
    }
    EDGERUN_EACH l[i] = clamp(broadcast(-kExpRange), broadcast(kExpRange), l[i]);
    exp_pairs(l, plus, minus);
  } else {
    exp_pairs(range, plus, minus);
  }
  EDGERUN_EACH x[i] = div(plus[i], add(one, plus[i]));
  if (kCode != kSigmoid) {
    EDGERUN_EACH x[i] = mul(x[i], scale[i]);
  } else {  // a NaN's payload may have fallen victim to the exponent arithmetic
    EDGERUN_EACH x[i] = fma(range[i], zero(), x[i]);
  }
  x[0] = flipped(x[0], flip);
  if (kChecked) {
    EDGERUN_EACH seen.near(fma(x[i], minus[i], x[i]), kCode != kSigmoid ? scale[i] : one);
  }
}

template <int kCode, bool kChecked>
EDGERUN_SIMD vf activate(vf x, const ActVectors& p, Checker& seen, vi flip = vi{}) {
  static_assert(kCode >= kNone && kCode < kActivationCount, "no such activation");
  const vf one = broadcast(1.f), half = broadcast(0.5f), tau = broadcast(kTau), floor_ = broadcast(kFloor);
  vf y;
  if (kChecked && kCode != kNone && kCode != kRelu && kCode != kClip && !is_smooth(kCode)) seen.finite(x);

  if constexpr (kCode == kNone) {
    y = flipped(x, flip);
    if (kChecked) seen.finite(y);
  } else if constexpr (kCode == kRelu) {
    y = flipped(max(zero(), x), flip);
    if (kChecked) seen.equal_and_finite(zero_if_negative(x), y);
  } else if constexpr (kCode == kClip) {
    y = flipped(min(p.b, max(p.a, x)), flip);
    if (kChecked) seen.equal_and_finite(max(p.a, min(p.b, x)), y);
  } else if constexpr (kCode == kLeakyRelu) {
    y = flipped(select(less(x, zero()), mul(x, p.a), x), flip);
    if (kChecked) seen.violated(not_equal(y, fma(p.a, min(x, zero()), max(zero(), x))));
  } else if constexpr (is_smooth(kCode)) {
    vf pack[1] = {x};
    smooth_pack<kCode, kChecked>(pack, seen, flip);
    y = pack[0];
  } else if constexpr (kCode == kTanh) {
    const ExpPair e = expm1_pair(mul(clamp(broadcast(-10.f), broadcast(10.f), x), broadcast(2.f)));
    y = flipped(div(e.plus, add(e.plus, broadcast(2.f))), flip);
    if (kChecked) seen.within(fma(y, add(e.minus, broadcast(2.f)), e.minus), fma(tau, abs(e.minus), floor_));
  } else if constexpr (kCode == kHardSigmoid) {  // c = tau (1 + |beta|)
    y = flipped(clamp(zero(), one, fma(p.a, x, p.b)), flip);
    if (kChecked) {
      const vf mirrored = clamp(zero(), one, fma(neg(p.a), x, sub(one, p.b)));
      seen.within(sub(add(y, mirrored), one), p.c);
    }
  } else if constexpr (kCode == kHardSwish) {
    const vf sixth = broadcast(1.f / 6.f);
    y = flipped(mul(x, clamp(zero(), one, fma(x, sixth, half))), flip);
    if (kChecked) {
      const vf mirrored = clamp(zero(), one, fma(x, neg(sixth), half));
      seen.within(sub(fma(x, mirrored, y), x), fma(tau, abs(x), floor_));
    }
  } else {
    const ExpPair e = expm1_pair(clamp(broadcast(-20.f), zero(), x));
    const vm negative = less(x, zero());
    y = flipped(select(negative, mul(p.a, e.plus), x), flip);
    if (kChecked) {
      const vf target = mul(p.a, e.minus);
      const vm wrong = not_less_equal(abs(add(fma(y, e.minus, y), target)), fma(tau, abs(target), floor_));
      seen.violated((negative & wrong) | (~negative & not_equal(y, x)));
    }
  }
  return y;
}

// kCount vectors in place.
template <int kCode, bool kChecked, int kCount>
EDGERUN_SIMD void activate_pack(vf (&x)[kCount], const ActVectors& p, Checker& seen) {
  if constexpr (is_smooth(kCode)) {
    smooth_pack<kCode, kChecked>(x, seen);
  } else {
    EDGERUN_EACH x[i] = activate<kCode, kChecked>(x[i], p, seen);
  }
}

// Calls f(ActCode<code>{}) so that a loop can be compiled for each activation.
template <int kCode>
struct ActCode {
  static constexpr int value = kCode;
};
template <class F>
EDGERUN_SIMD void with_activation(int32_t code, F&& f) {
  switch (code) {
    case kRelu: return f(ActCode<kRelu>{});
    case kClip: return f(ActCode<kClip>{});
    case kLeakyRelu: return f(ActCode<kLeakyRelu>{});
    case kSigmoid: return f(ActCode<kSigmoid>{});
    case kTanh: return f(ActCode<kTanh>{});
    case kHardSigmoid: return f(ActCode<kHardSigmoid>{});
    case kHardSwish: return f(ActCode<kHardSwish>{});
    case kSilu: return f(ActCode<kSilu>{});
    case kGelu: return f(ActCode<kGelu>{});
    case kGeluTanh: return f(ActCode<kGeluTanh>{});
    case kElu: return f(ActCode<kElu>{});
    default: return f(ActCode<kNone>{});
  }
}

EDGERUN_ISA_END
