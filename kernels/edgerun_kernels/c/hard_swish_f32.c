/* hard_swish_f32: y = x (x / 6 + 1/2 within [0, 1]). y may be x. NaN in, NaN out. */
#include "base.h"

static void er_hard_swish_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k] / 6.0f + 0.5f;
    y[k] = x[k] * (v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v);
  }
}
