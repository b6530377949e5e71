/* global_max_pool_f32: the largest of all pixels, or its NaN; -inf where there are none.
 * x [batch, pixels, channels], y [batch, channels]; they must not overlap. */
#include "base.h"

static void er_global_max_pool_f32(const float *x, int32_t batch, int32_t pixels, int32_t channels, float *y) {
  int32_t b, k, c;
  for (b = 0; b < batch; ++b, x += pixels * channels, y += channels) {
    for (c = 0; c < channels; ++c) {
      float most = -INFINITY;
      for (k = 0; k < pixels; ++k) {
        const float v = x[k * channels + c];
        most = most >= v || most != most ? most : v;
      }
      y[c] = most;
    }
  }
}
