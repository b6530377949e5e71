/* qconv2d_dw_{i8,u8}: depthwise qconv2d; output channel c reads input channel c / m, m = out_c / in_c.
 *
 * w [kernel_h, kernel_w, out_c] int8. Four channels at a time where m is 1. Taps outside of the image add nothing, so the zero point is
 * subtracted from x, and the bias is the model's. y must not overlap x. */
#include "dsp.h"
#include "rescale.h"
#include "window.h"

static void er_qconv2d_dw(const er_window *g, const er_quant *q, const uint8_t *x, const int8_t *w, void *y) {
  const int32_t m = g->out_c / g->in_c, row_step = g->dilation_h * g->in_w * g->in_c, step = g->dilation_w * g->in_c;
  int32_t image, h, at, c, i, j;
#if ER_DSP
  const int32_t fours = m == 1 ? g->out_c / 4 * 4 : 0;
  const uint32_t zero = (uint32_t)(-q->x_zero) & 0xffffu;
  const int16x2_t zeros = (int16x2_t)(zero | zero << 16);
#else
  const int32_t fours = 0;
#endif
  for (image = 0; image < g->batch; ++image) {
    for (h = 0; h < g->out_h; ++h) {
      const int32_t top = h * g->stride_h - g->pad_top;
      const er_taps rows = er_inside(top, g->kernel_h, g->dilation_h, g->in_h);
      for (at = 0; at < g->out_w; ++at) {
        const int32_t left = at * g->stride_w - g->pad_left, out = ((image * g->out_h + h) * g->out_w + at) * g->out_c;
        const er_taps columns = er_inside(left, g->kernel_w, g->dilation_w, g->in_w);
        const int32_t first = ((image * g->in_h + top) * g->in_w + left) * g->in_c + rows.from * row_step + columns.from * step;
        const int32_t tap = (rows.from * g->kernel_w + columns.from) * g->out_c;
#if ER_DSP
        for (c = 0; c < fours; c += 4) {
          int32_t s0 = q->bias[c], s1 = q->bias[c + 1], s2 = q->bias[c + 2], s3 = q->bias[c + 3];
          const uint8_t *from = x + first + c;
          const int8_t *weight = w + tap + c;
          for (i = rows.from; i < rows.to; ++i, from += row_step, weight += g->kernel_w * g->out_c) {
            const uint8_t *p = from;
            const int8_t *u = weight;
            for (j = columns.from; j < columns.to; ++j, p += step, u += g->out_c) {
              const uint32_t v = er_word(p) ^ q->x_flip, k = er_word(u);
              const int16x2_t ve = __sxtab16(zeros, (int8x4_t)v), vo = __sxtab16(zeros, (int8x4_t)(v >> 8));
              const int16x2_t ke = __sxtb16((int8x4_t)k), ko = __sxtb16((int8x4_t)(k >> 8));
              s0 = __smlabb(ve, ke, s0);
              s1 = __smlabb(vo, ko, s1);
              s2 = __smlatt(ve, ke, s2);
              s3 = __smlatt(vo, ko, s3);
            }
          }
          er_store_sum(q, s0, c, y, out + c);
          er_store_sum(q, s1, c + 1, y, out + c + 1);
          er_store_sum(q, s2, c + 2, y, out + c + 2);
          er_store_sum(q, s3, c + 3, y, out + c + 3);
        }
#endif
        for (c = fours; c < g->out_c; ++c) {
          int32_t sum = q->bias[c];
          const int32_t in = first + c / m;
          for (i = 0; i < rows.to - rows.from; ++i)
            for (j = 0; j < columns.to - columns.from; ++j)
              sum += ((int8_t)(x[in + i * row_step + j * step] ^ (uint8_t)q->x_flip) - q->x_zero) * w[tap + (i * g->kernel_w + j) * g->out_c + c];
          er_store_sum(q, sum, c, y, out + c);
        }
      }
    }
  }
}
