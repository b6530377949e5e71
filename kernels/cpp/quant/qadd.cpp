// qadd_{i8,u8}: the sum of two quantised tensors, broadcast, in int32:
//   y = clamp(y_zero + (((a - a_zero) a_mult + (b - b_zero) b_mult + 2^(shift-1)) >> shift), low, high)
// Multipliers that would leave int32 for some bytes are refused; below 2^15 they cost half as much on x86.
#include "byte_binary.h"

EDGERUN_ISA_BEGIN
namespace {
inline constexpr int32_t kMostMultiplier = (1 << 30) - 1;

struct Sum {
  int32_t a, b;  // multipliers
  int32_t bias;  // of bytes whose zero point is not subtracted; wraps, as do the sums, which end in range
  int32_t shift;
};

// The range of (x - zero) multiplier for x in 0..255.
void reach(int64_t zero, int64_t multiplier, int64_t* low, int64_t* high) {
  const int64_t p = -zero * multiplier, q = (255 - zero) * multiplier;
  *low += p < q ? p : q;
  *high += p < q ? q : p;
}

struct Op {
  using Params = Sum;

  static Status resolve(const Request& r, const ByteInput& a, const ByteInput& b, Sum* s) {
    if (!required_int(r, "a_mult", -kMostMultiplier, kMostMultiplier, &s->a)) return Status::bad_attribute;
    if (!required_int(r, "b_mult", -kMostMultiplier, kMostMultiplier, &s->b)) return Status::bad_attribute;
    if (!required_int(r, "shift", 1, 30, &s->shift)) return Status::bad_attribute;
    const int64_t half = int64_t{1} << (s->shift - 1);
    int64_t low = half, high = half;
    reach(a.zero, s->a, &low, &high);
    reach(b.zero, s->b, &low, &high);
    if (low < INT32_MIN || high > INT32_MAX) return Status::bad_attribute;
    s->bias = static_cast<int32_t>(static_cast<uint32_t>(half - int64_t{a.zero} * s->a - int64_t{b.zero} * s->b));
    return Status::ok;
  }

  vu bias;
  int shift;
  v8 flip_a, flip_b;
  ByteStore out;
#if defined(EDGERUN_X86)
  // The bytes of a and b side by side, as words: a multiply-add gives the sum of a lane. Larger multipliers are two words.
  vi weights, upper;
  bool large;

  EDGERUN_INLINE explicit Op(const ByteParams<Op>& p)
      : bias((vu)broadcast_int(p.op.bias)), shift(p.op.shift), flip_a(broadcast_byte(p.a.flip)),
        flip_b(broadcast_byte(p.b.flip)), out(p.y), upper(pair(p.op.a >> 15, p.op.b >> 15)),
        large(!is_word(p.op.a) || !is_word(p.op.b)) {
    weights = large ? pair(p.op.a & 0x7fff, p.op.b & 0x7fff) : pair(p.op.a, p.op.b);
  }
  EDGERUN_INLINE static bool is_word(int32_t a) { return a >= INT16_MIN && a <= INT16_MAX; }
  EDGERUN_INLINE static vi pair(int32_t a, int32_t b) {
    return broadcast_int(static_cast<int32_t>(static_cast<uint32_t>(b) << 16 | (static_cast<uint32_t>(a) & 0xffff)));
  }
  EDGERUN_INLINE v8 operator()(v8 a, v8 b) const {
    a ^= flip_a, b ^= flip_b;
    v16 pairs[4];
    widen((v8)EDGERUN_X86(unpacklo_epi8, a, b), &pairs[0], &pairs[1]);
    widen((v8)EDGERUN_X86(unpackhi_epi8, a, b), &pairs[2], &pairs[3]);
    vu sums[4];
    for (int k = 0; k < 4; ++k) sums[k] = (vu)EDGERUN_X86(madd_epi16, pairs[k], weights) + bias;
    if (large)
      for (int k = 0; k < 4; ++k) sums[k] += (vu)EDGERUN_X86(madd_epi16, pairs[k], upper) << 15;
    vi steps[4];
    for (int k = 0; k < 4; ++k) steps[k] = (vi)sums[k] >> shift;
    return out.bytes(steps);
  }
#else
  vu weight_a, weight_b;

  EDGERUN_INLINE explicit Op(const ByteParams<Op>& p)
      : bias((vu)broadcast_int(p.op.bias)), shift(p.op.shift), flip_a(broadcast_byte(p.a.flip)),
        flip_b(broadcast_byte(p.b.flip)), out(p.y), weight_a((vu)broadcast_int(p.op.a)), weight_b((vu)broadcast_int(p.op.b)) {}
  EDGERUN_INLINE v8 operator()(v8 a, v8 b) const {
    vi of_a[4], of_b[4], steps[4];
    widen_to_ints(a ^ flip_a, of_a);
    widen_to_ints(b ^ flip_b, of_b);
    for (int k = 0; k < 4; ++k) steps[k] = (vi)((vu)of_a[k] * weight_a + (vu)of_b[k] * weight_b + bias) >> shift;
    return out.bytes(steps);
  }
#endif
};
}  // namespace
EDGERUN_BYTE_BINARY(qadd, i8)
EDGERUN_BYTE_BINARY(qadd, u8)
EDGERUN_ISA_END
