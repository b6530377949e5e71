/* qconv2d_dw with weights of 16 bits, for uint8 weights whose zero point takes them out of int8; one channel at a time. */
#include "rescale.h"
#include "window.h"

static void er_qconv2d_dw_i16(const er_window *g, const er_quant *q, const uint8_t *x, const int16_t *w, void *y) {
  const int32_t m = g->out_c / g->in_c, row_step = g->dilation_h * g->in_w * g->in_c, step = g->dilation_w * g->in_c;
  int32_t image, h, at, c, i, j;
  for (image = 0; image < g->batch; ++image) {
    for (h = 0; h < g->out_h; ++h) {
      const int32_t top = h * g->stride_h - g->pad_top;
      const er_taps rows = er_inside(top, g->kernel_h, g->dilation_h, g->in_h);
      for (at = 0; at < g->out_w; ++at) {
        const int32_t left = at * g->stride_w - g->pad_left, out = ((image * g->out_h + h) * g->out_w + at) * g->out_c;
        const er_taps columns = er_inside(left, g->kernel_w, g->dilation_w, g->in_w);
        const int32_t first = ((image * g->in_h + top) * g->in_w + left) * g->in_c;
        for (c = 0; c < g->out_c; ++c) {
          int32_t sum = q->bias[c];
          for (i = rows.from; i < rows.to; ++i)
            for (j = columns.from; j < columns.to; ++j)
              sum += ((int8_t)(x[first + c / m + i * row_step + j * step] ^ (uint8_t)q->x_flip) - q->x_zero) *
                     w[(i * g->kernel_w + j) * g->out_c + c];
          er_store_sum(q, sum, c, y, out + c);
        }
      }
    }
  }
}
