// What a kernel sees of its own arithmetic while it runs: gathered in registers, tested once a row or tile.
//
//   identity  OR of lane masks: an identity did not hold
//   error, scale  sum of (t - x)^2 and of x^2 over identities t == x that hold up to rounding: |t - x| <= kTolerance |x| for
//             each implies error <= kTolerance^2 scale, and NaN or infinity on either side makes error NaN. Four operations,
//             and sound; a fault must stand out from the n values summed in its lane by sqrt(n) (fold every few dozen)
//   residue   OR of the bits of differences (second evaluation - result) that are +0 in a fault-free run and NaN when the
//             result is not finite: one subtraction covers the identity and the non-finite check
//
// A fault to inject arrives as a lane mask that is XORed into the activation's result before it is checked. Kernels ask
// once a row or tile whether an armed fault lies in it (fault_in) and otherwise pass no mask, so nothing is paid.
#pragma once
#include "simd.h"

EDGERUN_ISA_BEGIN

inline constexpr float kTolerance = 16 * 1.1920929e-7f;  // 16 ulp; fault-free runs stay below 6 (tested over all exponents)

struct Checker {
  vi identity{};
  vi residue{};
  vf error{}, scale{};

  // A mask of lanes where an identity failed.
  EDGERUN_INLINE void violated(vm mask) { identity |= mask; }
  // |residual| <= bound, written so that NaN fails.
  EDGERUN_INLINE void within(vf residual, vf bound) { identity |= not_less_equal(abs(residual), bound); }
  // t == x up to rounding, and x finite.
  EDGERUN_INLINE void near(vf t, vf x) {
    const vf r = sub(t, x);
    error = fma(r, r, error);
    scale = fma(x, x, scale);
  }
  // A second evaluation equals y bit for bit (an extra minus on y's zero is let pass), and y is finite.
  EDGERUN_INLINE void equal_and_finite(vf again, vf y) { residue |= as_int(sub(again, y)); }
  EDGERUN_INLINE void finite(vf x) { residue |= as_int(sub(x, x)); }
  EDGERUN_INLINE void join(const Checker& other) {
    identity |= other.identity;
    residue |= other.residue;
    error = add(error, other.error);
    scale = add(scale, other.scale);
  }
  EDGERUN_INLINE vm far() const {
    return not_less_equal(error, mul(scale, broadcast(kTolerance * kTolerance)));
  }
  EDGERUN_INLINE bool clean() const { return !any(identity | residue | far()); }
  EDGERUN_INLINE uint32_t flags() const {
    const vm special = ((residue & broadcast_int(0x7f800000)) == broadcast_int(0x7f800000)) | is_nan(error);
    return (any(identity | ((far() | residue) & ~special)) ? kIdentity : 0u) | (any(special) ? kNonFinite : 0u);
  }
};

// The slow path of fold: once per violated row or tile.
static EDGERUN_NOINLINE __attribute__((unused, cold)) void report(CheckSink* sink, uint32_t flags, int64_t first_index, float got,
                                                                  float expected, float bound) {
  if (sink->first_index < 0 || first_index < sink->first_index) {
    sink->first_index = first_index;
    sink->got = got;
    sink->expected = expected;
    sink->bound = bound;
  }
  sink->flags |= flags;
}

// Adds what was seen to the sink. `first_index`: flat output index of (or the start of the row or tile holding) the values.
EDGERUN_SIMD void fold(const Checker& seen, CheckSink* sink, int64_t first_index, int64_t count) {
  sink->checked += static_cast<uint64_t>(count);
  if (EDGERUN_UNLIKELY(!seen.clean())) report(sink, seen.flags(), first_index, 0.f, 0.f, 0.f);
}

// Is a fault armed for an output in [begin, end)?
EDGERUN_SIMD bool fault_in(const CheckSink* sink, int64_t begin, int64_t end) {
  return sink && EDGERUN_UNLIKELY(sink->fault != nullptr) && sink->fault->index >= begin && sink->fault->index < end;
}

// The XOR mask for outputs [index, index + kLanes) and an armed fault.
EDGERUN_SIMD vi fault_lanes(const CheckSink* sink, int64_t index) {
  const int64_t lane = sink->fault->index - index;
  if (lane < 0 || lane >= kLanes) return vi{};
  return (lane_numbers() == broadcast_int(static_cast<int32_t>(lane))) & broadcast_int(static_cast<int32_t>(sink->fault->mask));
}

// XORs an armed fault into y[index - base], index being in [base, base + n).
EDGERUN_SIMD void inject(const CheckSink* sink, int64_t base, float* y) {
  int32_t bits;
  __builtin_memcpy(&bits, y + (sink->fault->index - base), 4);
  bits ^= static_cast<int32_t>(sink->fault->mask);
  __builtin_memcpy(y + (sink->fault->index - base), &bits, 4);
}

EDGERUN_ISA_END
