// int8 and uint8 operands brought to one form: unsigned bytes, an int8 having its sign bit flipped and its zero point 128 more.
// One kernel then serves every combination of the two.
#pragma once
#include "quant/fixed_point.h"
#include "quant/lanes.h"

EDGERUN_ISA_BEGIN

struct ByteInput {
  int32_t zero;   // of the flipped byte: 0..255
  uint8_t flip;   // 0 or 0x80, XORed into every byte
};
struct ByteOutput {
  int32_t zero;            // 0..255
  uint8_t flip, low, high; // low and high are of the flipped byte
};

static inline bool is_byte(DType t) { return t == DType::i8 || t == DType::u8; }

static inline Status byte_input(const Request& r, const char* zero, DType dtype, ByteInput* b) {
  if (!is_byte(dtype)) return Status::bad_dtype;
  EDGERUN_TRY(byte_attribute(r, zero, dtype, 0, &b->zero));
  b->flip = dtype == DType::i8 ? 0x80 : 0;
  b->zero += b->flip;
  return Status::ok;
}

// y_zero, low and high; absent ones are 0 and the range of the dtype.
static inline Status byte_output(const Request& r, DType dtype, ByteOutput* b) {
  ByteInput zero;
  EDGERUN_TRY(byte_input(r, "y_zero", dtype, &zero));
  int32_t low, high;
  EDGERUN_TRY(byte_attribute(r, "low", dtype, dtype == DType::i8 ? INT8_MIN : 0, &low));
  EDGERUN_TRY(byte_attribute(r, "high", dtype, dtype == DType::i8 ? INT8_MAX : UINT8_MAX, &high));
  if (low > high) return Status::bad_attribute;
  *b = {zero.zero, zero.flip, static_cast<uint8_t>(low + zero.flip), static_cast<uint8_t>(high + zero.flip)};
  return Status::ok;
}

// ByteOutput in registers: int32 steps, in the order of widen_to_ints, to bytes.
struct ByteStore {
  v16 zero;
  v8 low, high, flip;

  EDGERUN_INLINE explicit ByteStore(const ByteOutput& b)
      : zero(broadcast_word(static_cast<int16_t>(b.zero))), low(broadcast_byte(b.low)), high(broadcast_byte(b.high)),
        flip(broadcast_byte(b.flip)) {}
  EDGERUN_INLINE v8 bytes(const vi* steps) const {
    const v16 l = add_saturating(narrow_ints(steps[0], steps[1]), zero), h = add_saturating(narrow_ints(steps[2], steps[3]), zero);
    return min_bytes(max_bytes(narrow_words(l, h), low), high) ^ flip;
  }
};

EDGERUN_ISA_END
