/* tile_f32.h where the core has MVE with floats: four outputs are a vector, an input multiplies it. */
#include "finish_mve_f32.h"
#include "patch.h"

#if ER_MVE_FLOAT
/* Four neighbouring pixels, all outputs of one group; y at out, a pixel's outputs being g->out_c apart. */
static void er_tile_4x4(const er_window *g, const er_patch *p, const er_end_f32 *e, const float *x, const float *panel, float *y,
                        int32_t out, int32_t first) {
  const int32_t inputs = g->in_c / g->group, outputs = g->out_c / g->group, step = g->stride_w * g->in_c;
  const int32_t joined = g->group == 1 && g->dilation_w == 1 ? p->w.to - p->w.from : 1;
#if ER_ABFT
  float32x4_t seen = vdupq_n_f32(0.0f);
#endif
  int32_t o, i, j, k;
  for (o = 0; o < outputs; o += 4, panel += 4 * g->kernel_h * g->kernel_w * inputs) {
    const int32_t n = outputs - o;
    float32x4_t a = er_some_f32(e->bias ? e->bias + first + o : NULL, n), b = a, c = a, d = a;
    for (i = p->h.from; i < p->h.to; ++i) {
      for (j = p->w.from; j < p->w.to; j += joined) {
        const float *x0 = x + (p->origin + (i * g->dilation_h * g->in_w + j * g->dilation_w) * g->in_c);
        const float *x1 = x0 + step, *x2 = x1 + step, *x3 = x2 + step;
        const float *w = panel + 4 * (i * g->kernel_w + j) * inputs;
        for (k = joined * inputs; k > 0; --k, w += 4) {
          const float32x4_t v = vldrwq_f32(w);
          a = vfmaq_n_f32(a, v, *x0++);
          b = vfmaq_n_f32(b, v, *x1++);
          c = vfmaq_n_f32(c, v, *x2++);
          d = vfmaq_n_f32(d, v, *x3++);
        }
      }
    }
#if ER_ABFT
    seen = vaddq_f32(seen, vaddq_f32(vaddq_f32(a, b), vaddq_f32(c, d)));
#endif
    er_finish_mve_f32(a, e, y, out + o, n);
    er_finish_mve_f32(b, e, y, out + o + g->out_c, n);
    er_finish_mve_f32(c, e, y, out + o + 2 * g->out_c, n);
    er_finish_mve_f32(d, e, y, out + o + 3 * g->out_c, n);
  }
#if ER_ABFT
  er_see_mve_f32(seen);
#endif
}

/* One pixel, all outputs of one group: sixteen at a time; panels that are not there are the first again. */
static void er_tile_1x8(const er_window *g, const er_patch *p, const er_end_f32 *e, const float *x, const float *panel, float *y,
                        int32_t out, int32_t first) {
  const int32_t inputs = g->in_c / g->group, outputs = g->out_c / g->group, size = 4 * g->kernel_h * g->kernel_w * inputs;
  const int32_t joined = g->group == 1 && g->dilation_w == 1 ? p->w.to - p->w.from : 1;
#if ER_ABFT
  float32x4_t seen = vdupq_n_f32(0.0f);
#endif
  int32_t o, i, j, k;
  for (o = 0; o < outputs; o += 16, panel += 4 * size) {
    const int32_t n = outputs - o, second = n > 4 ? size : 0, third = n > 8 ? 2 * size : 0, fourth = n > 12 ? 3 * size : 0;
    const float *const bias = e->bias ? e->bias + first + o : NULL;
    float32x4_t a = er_some_f32(bias, n), b = a, c = a, d = a;
    if (bias && n > 4) b = er_some_f32(bias + 4, n - 4);
    if (bias && n > 8) c = er_some_f32(bias + 8, n - 8);
    if (bias && n > 12) d = er_some_f32(bias + 12, n - 12);
    for (i = p->h.from; i < p->h.to; ++i) {
      for (j = p->w.from; j < p->w.to; j += joined) {
        const float *x0 = x + (p->origin + (i * g->dilation_h * g->in_w + j * g->dilation_w) * g->in_c);
        const float *w0 = panel + 4 * (i * g->kernel_w + j) * inputs, *w1 = w0 + second, *w2 = w0 + third, *w3 = w0 + fourth;
        for (k = joined * inputs; k > 0; --k, w0 += 4, w1 += 4, w2 += 4, w3 += 4) {
          const float v = *x0++;
          a = vfmaq_n_f32(a, vldrwq_f32(w0), v);
          b = vfmaq_n_f32(b, vldrwq_f32(w1), v);
          c = vfmaq_n_f32(c, vldrwq_f32(w2), v);
          d = vfmaq_n_f32(d, vldrwq_f32(w3), v);
        }
      }
    }
#if ER_ABFT
    seen = vaddq_f32(seen, a);
    if (n > 4) seen = vaddq_f32(seen, b);
    if (n > 8) seen = vaddq_f32(seen, c);
    if (n > 12) seen = vaddq_f32(seen, d);
#endif
    er_finish_mve_f32(a, e, y, out + o, n);
    if (n > 4) er_finish_mve_f32(b, e, y, out + o + 4, n - 4);
    if (n > 8) er_finish_mve_f32(c, e, y, out + o + 8, n - 8);
    if (n > 12) er_finish_mve_f32(d, e, y, out + o + 12, n - 12);
  }
#if ER_ABFT
  er_see_mve_f32(seen);
#endif
}
#endif
