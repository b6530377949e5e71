/* max_pool2d_{i8,u8}: the largest byte of every window; the smallest one where a window sees nothing. flip: 0x80 for uint8, 0 for
 * int8. y must not overlap x. */
#include "window.h"

static void er_max_pool2d_x8(const er_window *g, uint8_t flip, const uint8_t *x, uint8_t *y) {
  int32_t image, h, at, c, i, j;
  for (image = 0; image < g->batch; ++image) {
    for (h = 0; h < g->out_h; ++h) {
      const int32_t top = h * g->stride_h - g->pad_top;
      const er_taps rows = er_inside(top, g->kernel_h, g->dilation_h, g->in_h);
      for (at = 0; at < g->out_w; ++at) {
        const int32_t left = at * g->stride_w - g->pad_left;
        const er_taps columns = er_inside(left, g->kernel_w, g->dilation_w, g->in_w);
        for (c = 0; c < g->in_c; ++c) {
          int32_t most = -128;
          for (i = rows.from; i < rows.to; ++i) {
            for (j = columns.from; j < columns.to; ++j) {
              const int32_t pixel = (image * g->in_h + top + i * g->dilation_h) * g->in_w + left + j * g->dilation_w;
              const int32_t v = (int8_t)(x[pixel * g->in_c + c] ^ flip);
              most = v > most ? v : most;
            }
          }
          *y++ = (uint8_t)most ^ flip;
        }
      }
    }
  }
}
