/* conv2d_dw_f32: depthwise y = bounds(conv(x, w) + bias + residual); output channel c reads input channel c / m, m = out_c / in_c.
 *
 * w [kernel_h, kernel_w, out_c]. Rows whose 3x3 windows lie inside the image from top to bottom are done channel by channel: the
 * weights stay in registers while the window slides. y must not overlap x; it may be the residual. */
#include "bounds_f32.h"
#include "window.h"

/* One column of a 3x3 window: three numbers, or zeros beside the image. */
#define ER_COLUMN(s, column)                                            \
  do {                                                                  \
    const int32_t at_ = (column);                                       \
    if (at_ >= 0 && at_ < g->in_w) {                                    \
      const float *p_ = x + at_ * c;                                    \
      s##0 = p_[0], s##1 = p_[pitch], s##2 = p_[2 * pitch];             \
    } else {                                                            \
      s##0 = s##1 = s##2 = 0.0f;                                        \
    }                                                                   \
  } while (0)

#define ER_SUM9(p, q, r)                                                                                        \
  ER_MADD(r##2, w22, ER_MADD(r##1, w12, ER_MADD(r##0, w02, ER_MADD(q##2, w21, ER_MADD(q##1, w11, ER_MADD(q##0, w01, \
  ER_MADD(p##2, w20, ER_MADD(p##1, w10, ER_MADD(p##0, w00, bias)))))))))

#define ER_PUT(sum)                                        \
  do {                                                     \
    float v_ = (sum);                                      \
    if (residual) v_ += residual[at * c];                  \
    y[at * c] = er_bound(v_, &bounds);                     \
  } while (0)

/* One channel of one row of outputs; x: the channel's first pixel in the window's first row, w: its first weight. */
static void er_slide_3x3(const er_window *g, const float *x, const float *w, float bias, const float *residual, er_bounds bounds, float *y) {
  const int32_t c = g->in_c, pitch = g->in_w * c, stride = g->stride_w;
  const float w00 = w[0], w01 = w[c], w02 = w[2 * c], w10 = w[3 * c], w11 = w[4 * c], w12 = w[5 * c], w20 = w[6 * c], w21 = w[7 * c],
              w22 = w[8 * c];
  float p0, p1, p2, q0, q1, q2, r0, r1, r2;
  int32_t at, column = -g->pad_left;
  if (stride == 1) {
    ER_COLUMN(p, column);
    ER_COLUMN(q, column + 1);
    for (at = 0, column += 2; at < g->out_w; ++at, ++column) { /* three outputs a turn, so that columns need not be moved */
      ER_COLUMN(r, column);
      ER_PUT(ER_SUM9(p, q, r));
      if (++at == g->out_w) return;
      ++column;
      ER_COLUMN(p, column);
      ER_PUT(ER_SUM9(q, r, p));
      if (++at == g->out_w) return;
      ++column;
      ER_COLUMN(q, column);
      ER_PUT(ER_SUM9(r, p, q));
    }
    return;
  }
  for (at = 0; at < g->out_w; ++at, column += stride) {
    ER_COLUMN(p, column);
    ER_COLUMN(q, column + 1);
    ER_COLUMN(r, column + 2);
    ER_PUT(ER_SUM9(p, q, r));
  }
}

/* All channels of one output pixel, by the taps that lie in the image; x: the pixel under the window's first tap. */
static void er_dw_pixel(const er_window *g, er_taps h, er_taps w_taps, const float *x, int32_t origin, const float *w, const float *bias,
                        const float *residual, er_bounds bounds, float *y) {
  const int32_t m = g->out_c / g->in_c;
  int32_t c, i, j;
  for (c = 0; c < g->out_c; ++c) {
    float sum = bias ? bias[c] : 0.0f;
    for (i = h.from; i < h.to; ++i) {
      const float *from = x + (origin + (i * g->dilation_h * g->in_w + w_taps.from * g->dilation_w) * g->in_c + c / m);
      const float *weight = w + ((i * g->kernel_w + w_taps.from) * g->out_c + c);
      for (j = w_taps.from; j < w_taps.to; ++j, from += g->dilation_w * g->in_c, weight += g->out_c) sum = ER_MADD(*from, *weight, sum);
    }
    if (residual) sum += residual[c];
    y[c] = er_bound(sum, &bounds);
  }
}

static void er_conv2d_dw_f32(const er_window *g, const float *x, const float *w, const float *bias, const float *residual, er_bounds bounds,
                             float *y) {
  const int32_t slides = g->kernel_h == 3 && g->kernel_w == 3 && g->dilation_h == 1 && g->dilation_w == 1 && g->in_c == g->out_c;
  int32_t image, h, at, c;
  for (image = 0; image < g->batch; ++image) {
    for (h = 0; h < g->out_h; ++h) {
      const int32_t top = h * g->stride_h - g->pad_top, row = (image * g->out_h + h) * g->out_w * g->out_c;
      const int32_t first = (image * g->in_h + top) * g->in_w * g->in_c;
      const er_taps inside = er_inside(top, g->kernel_h, g->dilation_h, g->in_h);
      if (slides && inside.to - inside.from == 3) {
        for (c = 0; c < g->in_c; ++c)
          er_slide_3x3(g, x + first + c, w + c, bias ? bias[c] : 0.0f, residual ? residual + row + c : NULL, bounds, y + row + c);
        continue;
      }
      for (at = 0; at < g->out_w; ++at) {
        const int32_t left = at * g->stride_w - g->pad_left, out = row + at * g->out_c;
        const er_taps beside = er_inside(left, g->kernel_w, g->dilation_w, g->in_w);
        er_dw_pixel(g, inside, beside, x, first + left * g->in_c, w, bias, residual ? residual + out : NULL, bounds, y + out);
      }
    }
  }
}
