/* Products of pixels and outputs in registers: what convolution and matrix product spend their time in.
 *
 * Weights lie in panels of four outputs, [outputs / 4][inputs][4], the last one filled up with zeros. A tile of four pixels
 * and four outputs loads 8 numbers for 16 multiply-adds; one of one pixel and eight outputs loads 9 for 8. */
#include "tile_mve_f32.h"
#if ER_ABFT
#include "watch.h"
#endif

#if !ER_MVE_FLOAT
#define ER_MAC4(s, v)           \
  do {                          \
    const float v_ = (v);       \
    s##0 = ER_MADD(v_, w0, s##0); \
    s##1 = ER_MADD(v_, w1, s##1); \
    s##2 = ER_MADD(v_, w2, s##2); \
    s##3 = ER_MADD(v_, w3, s##3); \
  } while (0)

#define ER_STEP_4X4(k)                                                                \
  do {                                                                                \
    const float w0 = w[4 * (k)], w1 = w[4 * (k) + 1], w2 = w[4 * (k) + 2], w3 = w[4 * (k) + 3]; \
    ER_MAC4(a, x0[k]);                                                                \
    ER_MAC4(b, x1[k]);                                                                \
    ER_MAC4(c, x2[k]);                                                                \
    ER_MAC4(d, x3[k]);                                                                \
  } while (0)

/* Four neighbouring pixels, all outputs of one group; y at out, a pixel's outputs being g->out_c apart. */
static void er_tile_4x4(const er_window *g, const er_patch *p, const er_end_f32 *e, const float *x, const float *panel, float *y,
                        int32_t out, int32_t first) {
  const int32_t inputs = g->in_c / g->group, outputs = g->out_c / g->group, step = g->stride_w * g->in_c;
  const int32_t joined = g->group == 1 && g->dilation_w == 1 ? p->w.to - p->w.from : 1;
#if ER_ABFT
  float seen = 0.0f;
#endif
  int32_t o, i, j;
  for (o = 0; o < outputs; o += 4, panel += 4 * g->kernel_h * g->kernel_w * inputs) {
    const int32_t n = outputs - o < 4 ? outputs - o : 4;
    float a0 = 0.0f, a1 = 0.0f, a2 = 0.0f, a3 = 0.0f, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3;
    if (e->bias) {
      const float *bias = e->bias + first + o;
      a0 = bias[0];
      if (n > 1) a1 = bias[1];
      if (n > 2) a2 = bias[2];
      if (n > 3) a3 = bias[3];
    }
    b0 = c0 = d0 = a0;
    b1 = c1 = d1 = a1;
    b2 = c2 = d2 = a2;
    b3 = c3 = d3 = a3;
    for (i = p->h.from; i < p->h.to; ++i) {
      for (j = p->w.from; j < p->w.to; j += joined) {
        const float *x0 = x + (p->origin + (i * g->dilation_h * g->in_w + j * g->dilation_w) * g->in_c);
        const float *x1 = x0 + step, *x2 = x1 + step, *x3 = x2 + step;
        const float *w = panel + 4 * (i * g->kernel_w + j) * inputs;
        const float *const end = w + 4 * joined * inputs;
        for (; end - w >= 16; w += 16, x0 += 4, x1 += 4, x2 += 4, x3 += 4) {
          ER_STEP_4X4(0);
          ER_STEP_4X4(1);
          ER_STEP_4X4(2);
          ER_STEP_4X4(3);
        }
        for (; w < end; w += 4, ++x0, ++x1, ++x2, ++x3) ER_STEP_4X4(0);
      }
    }
#if ER_ABFT
    seen += ((a0 + a1) + (a2 + a3)) + ((b0 + b1) + (b2 + b3));
    seen += ((c0 + c1) + (c2 + c3)) + ((d0 + d1) + (d2 + d3));
#endif
    er_finish4(a0, a1, a2, a3, e, y, out + o, n);
    er_finish4(b0, b1, b2, b3, e, y, out + o + g->out_c, n);
    er_finish4(c0, c1, c2, c3, e, y, out + o + 2 * g->out_c, n);
    er_finish4(d0, d1, d2, d3, e, y, out + o + 3 * g->out_c, n);
  }
#if ER_ABFT
  er_see_f32(seen);
#endif
}

#define ER_STEP_1X8(k)                           \
  do {                                           \
    const float v_ = x0[k];                      \
    a0 = ER_MADD(v_, w[4 * (k)], a0);            \
    a1 = ER_MADD(v_, w[4 * (k) + 1], a1);        \
    a2 = ER_MADD(v_, w[4 * (k) + 2], a2);        \
    a3 = ER_MADD(v_, w[4 * (k) + 3], a3);        \
    b0 = ER_MADD(v_, u[4 * (k)], b0);            \
    b1 = ER_MADD(v_, u[4 * (k) + 1], b1);        \
    b2 = ER_MADD(v_, u[4 * (k) + 2], b2);        \
    b3 = ER_MADD(v_, u[4 * (k) + 3], b3);        \
  } while (0)

/* One pixel, all outputs of one group. Where four or fewer outputs are left, the second panel is the first again. */
static void er_tile_1x8(const er_window *g, const er_patch *p, const er_end_f32 *e, const float *x, const float *panel, float *y,
                        int32_t out, int32_t first) {
  const int32_t inputs = g->in_c / g->group, outputs = g->out_c / g->group, size = 4 * g->kernel_h * g->kernel_w * inputs;
  const int32_t joined = g->group == 1 && g->dilation_w == 1 ? p->w.to - p->w.from : 1;
#if ER_ABFT
  float seen = 0.0f;
#endif
  int32_t o, i, j;
  for (o = 0; o < outputs; o += 8, panel += 2 * size) {
    const int32_t n = outputs - o < 8 ? outputs - o : 8, second = n > 4 ? size : 0;
    float a0 = 0.0f, a1 = 0.0f, a2 = 0.0f, a3 = 0.0f, b0 = 0.0f, b1 = 0.0f, b2 = 0.0f, b3 = 0.0f;
    if (e->bias) {
      const float *bias = e->bias + first + o;
      a0 = bias[0];
      if (n > 1) a1 = bias[1];
      if (n > 2) a2 = bias[2];
      if (n > 3) a3 = bias[3];
      if (n > 4) b0 = bias[4];
      if (n > 5) b1 = bias[5];
      if (n > 6) b2 = bias[6];
      if (n > 7) b3 = bias[7];
    }
    for (i = p->h.from; i < p->h.to; ++i) {
      for (j = p->w.from; j < p->w.to; j += joined) {
        const float *x0 = x + (p->origin + (i * g->dilation_h * g->in_w + j * g->dilation_w) * g->in_c);
        const float *w = panel + 4 * (i * g->kernel_w + j) * inputs, *u = w + second;
        const float *const end = w + 4 * joined * inputs;
        for (; end - w >= 16; w += 16, u += 16, x0 += 4) {
          ER_STEP_1X8(0);
          ER_STEP_1X8(1);
          ER_STEP_1X8(2);
          ER_STEP_1X8(3);
        }
        for (; w < end; w += 4, u += 4, ++x0) ER_STEP_1X8(0);
      }
    }
#if ER_ABFT
    seen += (a0 + a1) + (a2 + a3);
    if (n > 4) seen += (b0 + b1) + (b2 + b3);
#endif
    er_finish4(a0, a1, a2, a3, e, y, out + o, n < 4 ? n : 4);
    if (n > 4) er_finish4(b0, b1, b2, b3, e, y, out + o + 4, n - 4);
  }
#if ER_ABFT
  er_see_f32(seen);
#endif
}
#endif
