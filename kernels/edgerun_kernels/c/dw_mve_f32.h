/* The tile of conv2d_dw_f32.c where the core has MVE with floats: four channels are a vector. */
#include "finish_mve_f32.h"
#include "window.h"

#if ER_MVE_FLOAT
/* All channels, four by four, of `pixels` neighbouring pixels (1 to 3), of which the same rows x columns taps lie in the image; x, w: at the
 * first of these; at: of the first pixel. */
ER_APART void er_dw_tile_f32(const er_window *g, const float *x, const float *w, int32_t rows, int32_t columns, const er_end_f32 *end,
                             int32_t pixels, float *restrict y, int32_t at) {
  const er_end_f32 ends = *end, *const e = &ends;
  const int32_t step = g->dilation_w * g->in_c, row_step = g->dilation_h * g->in_w * g->in_c, next = 4 * g->kernel_w;
  const int32_t second = pixels > 1 ? g->stride_w * g->in_c : 0, third = pixels > 2 ? 2 * second : 0;
  const int32_t fours = g->out_c / 4 * 4, panel = 4 * g->kernel_h * g->kernel_w, channels = g->out_c;
#if ER_ABFT
  float32x4_t seen = vdupq_n_f32(0.0f);
#endif
  int32_t c, i, j;
  for (c = 0; c < fours; c += 4, x += 4, w += panel, at += 4) {
    const float *row = x, *weights = w;
    float32x4_t s = er_some_f32(e->bias ? e->bias + c : NULL, 4), t = s, u = s;
    for (i = rows; i > 0; --i, row += row_step, weights += next) {
      const float *p = row, *q = row + second, *r = row + third, *k = weights;
      for (j = columns; j > 0; --j, p += step, q += step, r += step, k += 4) { /* pixels that are not there are the first again */
        const float32x4_t v = vldrwq_f32(k);
        s = vfmaq_f32(s, vldrwq_f32(p), v);
        t = vfmaq_f32(t, vldrwq_f32(q), v);
        u = vfmaq_f32(u, vldrwq_f32(r), v);
      }
    }
#if ER_ABFT
    seen = vaddq_f32(seen, s);
    if (pixels > 1) seen = vaddq_f32(seen, t);
    if (pixels > 2) seen = vaddq_f32(seen, u);
#endif
    er_finish_mve_f32(s, e, y, at, 4);
    if (pixels > 1) er_finish_mve_f32(t, e, y, at + channels, 4);
    if (pixels > 2) er_finish_mve_f32(u, e, y, at + 2 * channels, 4);
  }
#if ER_ABFT
  er_see_mve_f32(seen);
#endif
}
#endif
