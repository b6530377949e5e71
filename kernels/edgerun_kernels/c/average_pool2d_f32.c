/* average_pool2d_f32: the mean of every window; y must not overlap x. Taps inside the image count, and with include_pad those inside
 * the pads, too; a window without taps gives NaN. */
#include "window.h"

static void er_average_pool2d_f32(const er_window *g, int32_t include_pad, int32_t pad_bottom, int32_t pad_right, const float *x,
                                  float *y) {
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
          float sum = 0.0f;
          for (i = rows.from; i < rows.to; ++i) {
            for (j = columns.from; j < columns.to; ++j) {
              const int32_t pixel = (image * g->in_h + top + i * g->dilation_h) * g->in_w + left + j * g->dilation_w;
              sum += x[pixel * g->in_c + c];
            }
          }
          *y++ = sum / (float)count;
        }
      }
    }
  }
}
