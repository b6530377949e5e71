/* qaverage_pool2d_{i8,u8}: the mean of every window in another scale; y = clamp(rescale_even(sum (x - x_zero)) + y_zero, low, high).
 *
 * factor, left: one of each for every count of taps, from one on. Taps count as in average_pool2d_f32; no tap: y_zero. */
#include "rescale.h"
#include "window.h"

/* rescale with exact ties to the even integer. */
static int32_t er_rescale_even(int32_t t, int32_t factor) {
  const int64_t product = (int64_t)t * factor;
  const int32_t v = (int32_t)((product + 0x80000000LL) >> 32);
  return (uint32_t)product == 0x80000000u ? v - (v & 1) : v;
}

static void er_qaverage_pool2d(const er_window *g, int32_t include_pad, int32_t pad_bottom, int32_t pad_right, const er_quant *q,
                               const uint8_t *x, uint8_t *y) {
  int32_t image, h, at, c, i, j;
  for (image = 0; image < g->batch; ++image) {
    for (h = 0; h < g->out_h; ++h) {
      const int32_t top = h * g->stride_h - g->pad_top;
      const er_taps rows = er_inside(top, g->kernel_h, g->dilation_h, g->in_h);
      const er_taps padded_h = er_inside(h * g->stride_h, g->kernel_h, g->dilation_h, g->pad_top + g->in_h + pad_bottom);
      for (at = 0; at < g->out_w; ++at) {
        const int32_t left = at * g->stride_w - g->pad_left;
        const er_taps columns = er_inside(left, g->kernel_w, g->dilation_w, g->in_w);
        const er_taps padded_w = er_inside(at * g->stride_w, g->kernel_w, g->dilation_w, g->pad_left + g->in_w + pad_right);
        const int32_t seen = (rows.to - rows.from) * (columns.to - columns.from);
        const int32_t count = include_pad ? (padded_h.to - padded_h.from) * (padded_w.to - padded_w.from) : seen;
        for (c = 0; c < g->in_c; ++c) {
          int32_t sum = -seen * q->x_zero, v = q->y_zero;
          for (i = rows.from; i < rows.to; ++i) {
            for (j = columns.from; j < columns.to; ++j) {
              const int32_t pixel = (image * g->in_h + top + i * g->dilation_h) * g->in_w + left + j * g->dilation_w;
              sum += (int8_t)(x[pixel * g->in_c + c] ^ (uint8_t)q->x_flip);
            }
          }
          if (count > 0) v += er_rescale_even(er_shift_left(sum, q->left[count - 1]), q->factor[count - 1]);
          v = v < q->low ? q->low : v > q->high ? q->high : v;
          *y++ = (uint8_t)((uint32_t)v ^ q->y_flip);
        }
      }
    }
  }
}
