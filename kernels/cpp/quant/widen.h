// Input rows as words with their margins of zeros.
#pragma once
#include "quant/qconv_shape.h"

EDGERUN_ISA_BEGIN

// Rows from, from + step, ... of one image [height, width, channels] at x, each `row_words` wide from column -pad_left on; what lies
// outside the image is 0. `from` may be negative.
template <class T>
void widen_rows(const ConvShape& s, const T* x, int32_t zero, int64_t from, int64_t step, int64_t rows, int64_t row_words, word* out) {
  const int64_t left = least(s.pad_left * s.channels, row_words);
  const int64_t taken = most(0, least(s.width * s.channels, row_words - left)), right = row_words - left - taken;
  if (left == 0 && right == 0 && step == 1 && taken == s.width * s.channels && from >= 0 && from + rows <= s.height)
    return widen(x + from * taken, rows * taken, zero, out);
  for (int64_t i = from; rows > 0; --rows, i += step, out += row_words) {
    if (i < 0 || i >= s.height) {
      __builtin_memset(out, 0, static_cast<size_t>(row_words) * 2);
      continue;
    }
    __builtin_memset(out, 0, static_cast<size_t>(left) * 2);
    widen(x + i * s.width * s.channels, taken, zero, out + left);
    __builtin_memset(out + left + taken, 0, static_cast<size_t>(right) * 2);
  }
}

// Image n of x, of either byte type.
EDGERUN_SIMD void widen_image_rows(const ConvShape& s, const QuantParams& q, const TensorView& x, int64_t n, int64_t from, int64_t step,
                                   int64_t rows, int64_t row_words, word* out) {
  const int64_t image = n * s.height * s.width * s.channels;
  if (q.signed_x) widen_rows(s, x.as<const int8_t>() + image, q.x_zero, from, step, rows, row_words, out);
  else widen_rows(s, x.as<const uint8_t>() + image, q.x_zero, from, step, rows, row_words, out);
}

EDGERUN_ISA_END
