// Input rows as A's elements, with their margins.
#pragma once
#include "quant/qconv_shape.h"

EDGERUN_ISA_BEGIN

// Rows from, from + step, ... of one image [height, width, channels] at x, each `line` elements wide from column -pad_left on. What lies
// outside the image has every byte `outside`. `from` may be negative.
template <class T, class A>
void widen_rows(const ConvShape& s, const T* x, int32_t zero, int32_t outside, int64_t from, int64_t step, int64_t rows, int64_t line, A* out) {
  const int64_t left = least(s.pad_left * s.channels, line);
  const int64_t taken = most(0, least(s.width * s.channels, line - left)), right = line - left - taken;
  const auto fill = [outside](A* at, int64_t n) { fill_bytes(at, static_cast<uint8_t>(outside), n * static_cast<int64_t>(sizeof(A))); };
  if (left == 0 && right == 0 && step == 1 && taken == s.width * s.channels && from >= 0 && from + rows <= s.height)
    return widen(x + from * taken, rows * taken, zero, out);
  for (int64_t i = from; rows > 0; --rows, i += step, out += line) {
    if (i < 0 || i >= s.height) {
      fill(out, line);
      continue;
    }
    fill(out, left);
    widen(x + i * s.width * s.channels, taken, zero, out + left);
    fill(out + left + taken, right);
  }
}

// Image n of x, of either byte type: words, or bytes as form bytes has them.
EDGERUN_SIMD void widen_image_rows(const ConvShape& s, const QuantParams& q, const TensorView& x, int64_t n, int64_t from, int64_t step,
                                   int64_t rows, int64_t line, word* out) {
  const int64_t image = n * s.height * s.width * s.channels;
  if (q.signed_x) widen_rows(s, x.as<const int8_t>() + image, q.x_zero, 0, from, step, rows, line, out);
  else widen_rows(s, x.as<const uint8_t>() + image, q.x_zero, 0, from, step, rows, line, out);
}
EDGERUN_SIMD void widen_image_rows(const ConvShape& s, const QuantParams& q, const TensorView& x, int64_t n, int64_t from, int64_t step,
                                   int64_t rows, int64_t line, int8_t* out) {
  const int64_t image = n * s.height * s.width * s.channels;
  const int32_t outside = byte_zero(q.signed_x, q.x_zero);
  if (q.signed_x) widen_rows(s, x.as<const int8_t>() + image, 0, outside, from, step, rows, line, out);
  else widen_rows(s, x.as<const uint8_t>() + image, 0, outside, from, step, rows, line, out);
}

EDGERUN_ISA_END
