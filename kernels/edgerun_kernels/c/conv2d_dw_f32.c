/* conv2d_dw_f32: depthwise y = bounds(conv(x, w) + bias + residual); output channel c reads input channel c / m, m = out_c / in_c.
 *
 * w: where m is 1, channels go by four, [out_c / 4][kernel_h * kernel_w][4]; the other channels follow, [kernel_h * kernel_w] each. Taps
 * outside of the image are left out. y must not overlap x; it may be the residual. */
#include "dw_mve_f32.h"
#if ER_ABFT
#include "watch.h"
#endif

#if !ER_MVE_FLOAT
#define ER_TAP4(s, p)                  \
  do {                                 \
    const float *const p_ = (p);       \
    s##0 = ER_MADD(p_[0], w0, s##0);   \
    s##1 = ER_MADD(p_[1], w1, s##1);   \
    s##2 = ER_MADD(p_[2], w2, s##2);   \
    s##3 = ER_MADD(p_[3], w3, s##3);   \
  } while (0)

/* All channels, four by four, of `pixels` neighbouring pixels (1 to 3), of which the same rows x columns taps lie in the image; x, w: at
 * the first of these; at: of the first pixel. */
ER_KERNEL void er_dw_tile_f32(const er_window *g, const float *x, const float *w, int32_t rows, int32_t columns, const er_end_f32 *end,
                             int32_t pixels, float *restrict y, int32_t at) {
  const er_end_f32 ends = *end, *const e = &ends;
  const int32_t step = g->dilation_w * g->in_c, row_step = g->dilation_h * g->in_w * g->in_c, next = 4 * g->kernel_w;
  const int32_t second = pixels > 1 ? g->stride_w * g->in_c : 0, third = pixels > 2 ? 2 * second : 0;
  const int32_t fours = g->out_c / 4 * 4, panel = 4 * g->kernel_h * g->kernel_w, channels = g->out_c;
#if ER_ABFT
  float seen = 0.0f;
#endif
  int32_t c, i, j;
  for (c = 0; c < fours; c += 4, x += 4, w += panel, at += 4) {
    const float *row = x, *weights = w;
    float a0 = 0.0f, a1 = 0.0f, a2 = 0.0f, a3 = 0.0f, b0, b1, b2, b3, c0, c1, c2, c3;
    if (e->bias) a0 = e->bias[c], a1 = e->bias[c + 1], a2 = e->bias[c + 2], a3 = e->bias[c + 3];
    b0 = c0 = a0;
    b1 = c1 = a1;
    b2 = c2 = a2;
    b3 = c3 = a3;
    for (i = rows; i > 0; --i, row += row_step, weights += next) {
      const float *p = row, *q = row + second, *r = row + third, *k = weights;
      if (pixels > 1) { /* a third one that is not there is the first again */
        for (j = columns; j > 0; --j, p += step, q += step, r += step, k += 4) {
          const float w0 = k[0], w1 = k[1], w2 = k[2], w3 = k[3];
          ER_TAP4(a, p);
          ER_TAP4(b, q);
          ER_TAP4(c, r);
        }
      } else {
        for (j = columns; j > 0; --j, p += step, k += 4) {
          const float w0 = k[0], w1 = k[1], w2 = k[2], w3 = k[3];
          ER_TAP4(a, p);
        }
      }
    }
#if ER_ABFT
    seen += (a0 + a1) + (a2 + a3);
    if (pixels > 1) seen += (b0 + b1) + (b2 + b3);
    if (pixels > 2) seen += (c0 + c1) + (c2 + c3);
#endif
    er_finish4(a0, a1, a2, a3, e, y, at, 4);
    if (pixels > 1) er_finish4(b0, b1, b2, b3, e, y, at + channels, 4);
    if (pixels > 2) er_finish4(c0, c1, c2, c3, e, y, at + 2 * channels, 4);
  }
#if ER_ABFT
  er_see_f32(seen);
#endif
}

/* One column of a 3x3 window: three numbers, or zeros beside the image. */
#define ER_COLUMN(s)                                         \
  do {                                                       \
    s##0 = s##1 = s##2 = 0.0f;                               \
    if ((uint32_t)column < width) {                          \
      const float *const p_ = x + column * c;                \
      s##0 = p_[0], s##1 = p_[pitch], s##2 = p_[2 * pitch];  \
    }                                                        \
    ++column;                                                \
  } while (0)

#define ER_SUM9(p, q, r)                                                                                            \
  ER_MADD(r##2, w22, ER_MADD(r##1, w12, ER_MADD(r##0, w02, ER_MADD(q##2, w21, ER_MADD(q##1, w11, ER_MADD(q##0, w01, \
  ER_MADD(p##2, w20, ER_MADD(p##1, w10, ER_MADD(p##0, w00, bias)))))))))

#if ER_CHECKED
#if ER_ABFT
#define ER_SLIDE_SEE(v) seen += (v)
#define ER_SLIDE_SEEN er_see_f32(seen)
#else
#define ER_SLIDE_SEE(v) (void)0
#define ER_SLIDE_SEEN (void)0
#endif
#if ER_MAED
#define ER_SLIDE_OFF(x, y) off = er_off_bounds(off, x, y, bounds, form)
#define ER_SLIDE_WAS_OFF er_watch.off = off
#else
#define ER_SLIDE_OFF(x, y) (void)(x)
#define ER_SLIDE_WAS_OFF (void)0
#endif
#define ER_PUT(sum)                         \
  do {                                      \
    float v_ = (sum), x_;                   \
    ER_SLIDE_SEE(v_);                       \
    if (residual) v_ += *residual, residual += c; \
    x_ = v_;                                \
    v_ = v_ < low ? low : v_;               \
    if (capped) v_ = v_ > high ? high : v_; \
    ER_SLIDE_OFF(x_, v_);                   \
    *y = v_;                                \
    y += c;                                 \
    if (--left == 0) {                      \
      ER_SLIDE_SEEN;                        \
      ER_SLIDE_WAS_OFF;                     \
      return;                               \
    }                                       \
  } while (0)
#else
#define ER_PUT(sum)                         \
  do {                                      \
    float v_ = (sum);                       \
    if (residual) v_ += *residual, residual += c; \
    v_ = v_ < low ? low : v_;               \
    if (capped) v_ = v_ > high ? high : v_; \
    *y = v_;                                \
    y += c;                                 \
    if (--left == 0) return;                \
  } while (0)
#endif

/* One channel of one row of outputs by 3x3 windows of stride 1, of which all rows lie in the image: the weights (four apart) stay in
 * registers while the window slides. x: the channel in the image's first column, in the row under the window's first. */
ER_KERNEL void er_dw_slide_f32(const er_window *g, const float *x, const float *w, float bias, const er_bounds *bounds,
                              const float *residual, float *restrict y) {
  const int32_t c = g->in_c, pitch = g->in_w * c, capped = bounds->high < INFINITY;
  const uint32_t width = (uint32_t)g->in_w;
  const float low = bounds->low, high = bounds->high;
  const float w00 = w[0], w01 = w[4], w02 = w[8], w10 = w[12], w11 = w[16], w12 = w[20], w20 = w[24], w21 = w[28], w22 = w[32];
  float p0, p1, p2, q0, q1, q2, r0, r1, r2;
  int32_t column = -g->pad_left, left = g->out_w;
#if ER_ABFT
  float seen = 0.0f;
#endif
#if ER_MAED
  const int32_t form = er_form(bounds);
  float off = er_watch.off;
#endif
  ER_COLUMN(p);
  ER_COLUMN(q);
  for (;;) { /* three outputs a turn, so that columns need not be moved */
    ER_COLUMN(r);
    ER_PUT(ER_SUM9(p, q, r));
    ER_COLUMN(p);
    ER_PUT(ER_SUM9(q, r, p));
    ER_COLUMN(q);
    ER_PUT(ER_SUM9(r, p, q));
  }
}

#endif

/* Channels from c on of one pixel, one by one; origin: of the pixel under the window's first tap. */
static void er_dw_pixel_f32(const er_window *g, const float *x, int32_t origin, const float *w, er_taps rows, er_taps columns,
                            const float *bias, const er_end_f32 *e, int32_t c, float *y, int32_t at) {
  const int32_t m = g->out_c / g->in_c, size = g->kernel_h * g->kernel_w;
  int32_t i, j;
  for (; c < g->out_c; ++c) {
    float sum = bias ? bias[c] : 0.0f;
    for (i = rows.from; i < rows.to; ++i) {
      for (j = columns.from; j < columns.to; ++j) {
        const int32_t from = origin + (i * g->dilation_h * g->in_w + j * g->dilation_w) * g->in_c + c / m;
        sum = ER_MADD(x[from], w[c * size + i * g->kernel_w + j], sum);
      }
    }
#if ER_ABFT
    er_see_f32(sum);
#endif
    er_finish4(sum, 0.0f, 0.0f, 0.0f, e, y, at + c, 1);
  }
}

static void er_conv2d_dw_f32(const er_window *g, const float *x, const float *w, const float *bias, const float *residual, er_bounds bounds,
                             float *y) {
  const int32_t fours = g->out_c == g->in_c ? g->out_c / 4 * 4 : 0;
  const int32_t begin = (g->pad_left + g->stride_w - 1) / g->stride_w; /* pixels from here on, to the last, see no side of the image */
  const int32_t last = g->in_w - 1 - (g->kernel_w - 1) * g->dilation_w + g->pad_left;
#if ER_MAED
  const er_end_f32 e = {bias, residual, bounds, er_form(&bounds)};
#else
  const er_end_f32 e = {bias, residual, bounds};
#endif
  int32_t image, h, at;
  for (image = 0; image < g->batch; ++image) {
    for (h = 0; h < g->out_h; ++h) {
      const int32_t top = h * g->stride_h - g->pad_top;
      const er_taps rows = er_inside(top, g->kernel_h, g->dilation_h, g->in_h);
      int32_t n;
#if !ER_MVE_FLOAT
      if (g->kernel_h == 3 && g->kernel_w == 3 && g->stride_w == 1 && g->dilation_w == 1 && g->dilation_h == 1 && g->pad_left < g->in_w &&
          fours == g->out_c && rows.to - rows.from == 3) {
        const int32_t row = (image * g->out_h + h) * g->out_w * g->out_c;
        const float *from = x + (image * g->in_h + top) * g->in_w * g->in_c;
        for (n = 0; n < fours; ++n)
          er_dw_slide_f32(g, from + n, w + (n / 4 * 36 + n % 4), bias ? bias[n] : 0.0f, &bounds, residual ? residual + row + n : NULL,
                          y + row + n);
        continue;
      }
#endif
      for (at = 0; at < g->out_w; at += n) {
        const int32_t left = at * g->stride_w - g->pad_left, out = ((image * g->out_h + h) * g->out_w + at) * g->out_c;
        const er_taps columns = er_inside(left, g->kernel_w, g->dilation_w, g->in_w);
        const int32_t origin = ((image * g->in_h + top) * g->in_w + left) * g->in_c;
        const int32_t first = origin + (rows.from * g->dilation_h * g->in_w + columns.from * g->dilation_w) * g->in_c;
        n = 1;
        if (at >= begin && last >= 0 && fours == g->out_c) { /* as many pixels at once as see the same columns */
          n = last / g->stride_w + 1 - at;
          n = n < 1 ? 1 : n < 3 ? n : 3;
          n = n < g->out_w - at ? n : g->out_w - at;
        }
        if (fours > 0)
          er_dw_tile_f32(g, x + first, w + (rows.from * g->kernel_w + columns.from) * 4, rows.to - rows.from, columns.to - columns.from,
                         &e, n, y, out);
        if (fours < g->out_c) er_dw_pixel_f32(g, x, origin, w, rows, columns, bias, &e, fours, y, out);
      }
    }
  }
}
