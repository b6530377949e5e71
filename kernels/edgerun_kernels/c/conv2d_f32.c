/* conv2d_f32: y = bounds(conv(x, w) + bias + residual), channels-last, grouped.
 *
 * w: for each group, panels of four outputs [out_c / group / 4][kernel_h * kernel_w * in_c / group][4]. Taps outside of the image are
 * left out, not multiplied by zero. y must not overlap x; it may be the residual. Matrix products with constant weights are 1x1
 * convolutions over a row of pixels. Sums are taken in float32: error at most n eps sum |x| |w|. */
#include "tile_f32.h"

static void er_conv2d_f32(const er_window *g, const float *x, const float *w, const float *bias, const float *residual, er_bounds bounds,
                          float *y) {
  const int32_t inputs = g->in_c / g->group, outputs = g->out_c / g->group;
  const int32_t panels = 4 * ((outputs + 3) / 4) * g->kernel_h * g->kernel_w * inputs;
#if ER_MAED
  const er_end_f32 e = {bias, residual, bounds, er_form(&bounds)};
#else
  const er_end_f32 e = {bias, residual, bounds};
#endif
  int32_t image, h, at, group;
  for (image = 0; image < g->batch; ++image) {
    for (h = 0; h < g->out_h; ++h) {
      const int32_t top = h * g->stride_h - g->pad_top, row = (image * g->out_h + h) * g->out_w;
      er_patch p;
      p.h = er_inside(top, g->kernel_h, g->dilation_h, g->in_h);
      for (at = 0; at < g->out_w;) {
        const int32_t left = at * g->stride_w - g->pad_left;
        const int32_t last = left + 3 * g->stride_w + (g->kernel_w - 1) * g->dilation_w; /* of the fourth pixel's window */
        const int32_t four = left >= 0 && last < g->in_w && g->out_w - at >= 4;
        p.w = er_inside(left, g->kernel_w, g->dilation_w, g->in_w);
        for (group = 0; group < g->group; ++group) {
          p.origin = ((image * g->in_h + top) * g->in_w + left) * g->in_c + group * inputs;
          if (four)
            er_tile_4x4(g, &p, &e, x, w + group * panels, y, (row + at) * g->out_c + group * outputs, group * outputs);
          else
            er_tile_1x8(g, &p, &e, x, w + group * panels, y, (row + at) * g->out_c + group * outputs, group * outputs);
        }
        at += four ? 4 : 1;
      }
    }
  }
}
