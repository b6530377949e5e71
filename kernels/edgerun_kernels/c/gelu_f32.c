/* gelu_f32: y = x Phi(x), Phi being the normal distribution. y may be x. NaN in, NaN out. */
#include "base.h"

static void er_gelu_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k];
    y[k] = 0.5f * v * erfcf(-0.70710678f * v);
  }
}
