/* qconv2d_dw_{i8,u8}: depthwise qconv2d; output channel c reads input channel c / m, m = out_c / in_c.
 *
 * w int16 (int8, or uint8 less its zero point): where m is 1, channels go by four, [out_c / 4][kernel_h * kernel_w][4] with the middle two
 * exchanged, as sxtab16 gives x; the other channels follow, [kernel_h * kernel_w] each. Taps outside of the image add nothing, so x_zero is
 * subtracted from x, and the bias is the model's. y must not overlap x. */
#include "dsp.h"
#include "rescale.h"
#include "window.h"

#if ER_DSP
#define ER_TAP(p_, w_)                                                                                 \
  do {                                                                                                 \
    const uint32_t v_ = er_word(p_) ^ flip;                                                            \
    const int16x2_t e_ = __sxtab16(zeros, (int8x4_t)v_), o_ = __sxtab16(zeros, (int8x4_t)(v_ >> 8));                   \
    const int16x2_t k_ = (int16x2_t)er_word(w_), l_ = (int16x2_t)er_word((w_) + 2);                    \
    s0 = __smlabb(e_, k_, s0);                                                                         \
    s1 = __smlabb(o_, l_, s1);                                                                         \
    s2 = __smlatt(e_, k_, s2);                                                                         \
    s3 = __smlatt(o_, l_, s3);                                                                         \
  } while (0)
#else
#define ER_BYTE(p_, k_) ((int8_t)((p_)[k_] ^ (uint8_t)flip) + zeros)
#define ER_TAP(p_, w_)                                                                                 \
  do {                                                                                                 \
    s0 += ER_BYTE(p_, 0) * (w_)[0];                                                                    \
    s1 += ER_BYTE(p_, 1) * (w_)[2];                                                                    \
    s2 += ER_BYTE(p_, 2) * (w_)[1];                                                                    \
    s3 += ER_BYTE(p_, 3) * (w_)[3];                                                                    \
  } while (0)
#endif

/* Four channels from c on of n neighbouring pixels, of which the same rows x columns taps lie in the image; x, w: at the first of these;
 * at: of the first pixel. */
ER_APART void er_dw_4(const er_window *g, const er_quant *q, const uint8_t *x, const int16_t *w, int32_t rows, int32_t columns, int32_t c,
                      int32_t n, void *restrict y, int32_t at) {
  const int32_t channels = g->out_c, step = g->dilation_w * channels, row_step = g->dilation_h * g->in_w * channels;
  const int32_t pixel = g->stride_w * channels, next = 4 * g->kernel_w, *const bias = q->bias + c;
  const uint32_t flip = q->x_flip;
#if ER_DSP
  const uint32_t zero = (uint32_t)(-q->x_zero) & 0xffffu;
  const int16x2_t zeros = (int16x2_t)(zero | zero << 16);
#else
  const int32_t zeros = -q->x_zero;
#endif
  for (; n > 0; --n, x += pixel, at += channels) {
    int32_t s0 = bias[0], s1 = bias[1], s2 = bias[2], s3 = bias[3], i, j;
    const uint8_t *row = x;
    const int16_t *weights = w;
    for (i = rows; i > 0; --i, row += row_step, weights += next) {
      const uint8_t *p = row;
      const int16_t *k = weights;
      for (j = columns; j >= 3; j -= 3, p += 3 * step, k += 12) {
        ER_TAP(p, k);
        ER_TAP(p + step, k + 4);
        ER_TAP(p + 2 * step, k + 8);
      }
      for (; j > 0; --j, p += step, k += 4) ER_TAP(p, k);
    }
#if ER_ABFT
    er_watch.seen += (uint32_t)s0 + (uint32_t)s1 + (uint32_t)s2 + (uint32_t)s3;
#endif
    if (q->factor) {
      int32_t v[4];
      uint8_t *to = (uint8_t *)y + at;
      v[0] = s0, v[1] = s1, v[2] = s2, v[3] = s3;
      er_narrow4(q, v, c, c + 1, c + 2, c + 3);
      to[0] = (uint8_t)v[0];
      to[1] = (uint8_t)v[1];
      to[2] = (uint8_t)v[2];
      to[3] = (uint8_t)v[3];
    } else {
      int32_t *to = (int32_t *)y + at;
      to[0] = s0, to[1] = s1, to[2] = s2, to[3] = s3;
    }
  }
}

/* Channels from c on of one pixel, one by one; origin: of the pixel under the window's first tap. */
static void er_dw_1(const er_window *g, const er_quant *q, const uint8_t *x, int32_t origin, const int16_t *w, er_taps rows,
                    er_taps columns, int32_t c, void *y, int32_t at) {
  const int32_t m = g->out_c / g->in_c, size = g->kernel_h * g->kernel_w;
  int32_t i, j;
  for (; c < g->out_c; ++c) {
    int32_t sum = q->bias[c];
    for (i = rows.from; i < rows.to; ++i) {
      for (j = columns.from; j < columns.to; ++j) {
        const int32_t from = origin + (i * g->dilation_h * g->in_w + j * g->dilation_w) * g->in_c + c / m;
        sum += ((int8_t)(x[from] ^ (uint8_t)q->x_flip) - q->x_zero) * w[c * size + i * g->kernel_w + j];
      }
    }
    er_store_sum(q, sum, c, y, at + c);
  }
}

static void er_qconv2d_dw(const er_window *g, const er_quant *q, const uint8_t *x, const int16_t *w, void *y) {
  const int32_t fours = g->out_c == g->in_c ? g->out_c / 4 * 4 : 0, size = g->kernel_h * g->kernel_w;
  const int32_t begin = (g->pad_left + g->stride_w - 1) / g->stride_w; /* pixels from here on, to the last, see no side of the image */
  const int32_t last = g->in_w - 1 - (g->kernel_w - 1) * g->dilation_w + g->pad_left;
  int32_t image, h, at, c;
  for (image = 0; image < g->batch; ++image) {
    for (h = 0; h < g->out_h; ++h) {
      const int32_t top = h * g->stride_h - g->pad_top;
      const er_taps rows = er_inside(top, g->kernel_h, g->dilation_h, g->in_h);
      int32_t n;
      for (at = 0; at < g->out_w; at += n) {
        const int32_t left = at * g->stride_w - g->pad_left, out = ((image * g->out_h + h) * g->out_w + at) * g->out_c;
        const er_taps columns = er_inside(left, g->kernel_w, g->dilation_w, g->in_w);
        const int32_t origin = ((image * g->in_h + top) * g->in_w + left) * g->in_c;
        const int32_t first = origin + (rows.from * g->dilation_h * g->in_w + columns.from * g->dilation_w) * g->in_c;
        n = 1;
        if (at >= begin && last >= 0 && fours == g->out_c) { /* as many pixels at once as see the same columns */
          n = last / g->stride_w + 1 - at;
          n = n < 1 ? 1 : n < g->out_w - at ? n : g->out_w - at;
        }
        for (c = 0; c < fours; c += 4)
          er_dw_4(g, q, x + first + c, w + (c * size + (rows.from * g->kernel_w + columns.from) * 4), rows.to - rows.from,
                  columns.to - columns.from, c, n, y, out + c);
        er_dw_1(g, q, x, origin, w, rows, columns, fours, y, out);
      }
    }
  }
}
