/* global_average_pool_f32: the mean over all pixels. x [batch, pixels, channels], y [batch, channels]; y must not overlap x. */
#include "base.h"

static void er_global_average_pool_f32(const float *x, int32_t batch, int32_t pixels, int32_t channels, float *y) {
  int32_t b, k, c;
  for (b = 0; b < batch; ++b, x += pixels * channels, y += channels) {
    for (c = 0; c < channels; ++c) {
      float sum = 0.0f;
      for (k = 0; k < pixels; ++k) sum += x[k * channels + c];
      y[c] = sum / (float)pixels;
    }
  }
}
