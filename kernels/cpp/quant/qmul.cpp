// qmul_{i8,u8}: the product of two quantised tensors, broadcast: y = clamp(rescale((a - a_zero)(b - b_zero)) + y_zero, low, high)
#include "byte_binary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Factor {
  int32_t m, left;
};

struct Op {
  using Params = Factor;

  static Status resolve(const Request& r, const ByteInput&, const ByteInput&, Factor* f) {
    if (!required_int(r, "m", 0, (1 << 30) - 1, &f->m)) return Status::bad_attribute;
    return required_int(r, "left", 0, kMostLeft, &f->left) ? Status::ok : Status::bad_attribute;
  }

  v8 flip_a, flip_b;
  v16 zero_a, zero_b;
  vi factor, left;
  bool shifts;
  ByteStore out;

  EDGERUN_INLINE explicit Op(const ByteParams<Op>& p)
      : flip_a(broadcast_byte(p.a.flip)), flip_b(broadcast_byte(p.b.flip)),
        zero_a(broadcast_word(static_cast<int16_t>(p.a.zero))), zero_b(broadcast_word(static_cast<int16_t>(p.b.zero))),
        factor(broadcast_int(factor_of(p.op.m))), left(broadcast_int(p.op.left)), shifts(p.op.left != 0), out(p.y) {}
  EDGERUN_INLINE v8 operator()(v8 a, v8 b) const {
    v16 a_low, a_high, b_low, b_high;
    widen(a ^ flip_a, &a_low, &a_high);
    widen(b ^ flip_b, &b_low, &b_high);
    vi steps[4];
    multiply_words(a_low - zero_a, b_low - zero_b, &steps[0], &steps[1]);
    multiply_words(a_high - zero_a, b_high - zero_b, &steps[2], &steps[3]);
    if (shifts)
      for (int k = 0; k < 4; ++k) steps[k] = shift_left_limited(steps[k], left);
    for (int k = 0; k < 4; ++k) steps[k] = rescale(steps[k], factor);
    return out.bytes(steps);
  }
};
}  // namespace
EDGERUN_BYTE_BINARY(qmul, i8)
EDGERUN_BYTE_BINARY(qmul, u8)
EDGERUN_ISA_END
