/* silu_f32: y = x / (1 + e^-x). y may be x. NaN in, NaN out. */
#include "base.h"

static void er_silu_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k];
    y[k] = v * (1.0f / (1.0f + expf(-v)));
  }
}
