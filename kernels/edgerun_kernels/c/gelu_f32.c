/* gelu_f32: y = x Phi(x), Phi being the normal distribution. y may be x. NaN in, NaN out. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_gelu_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k];
    y[k] = 0.5f * v * erfcf(-0.70710678f * v);
#if ER_MAED
    er_finite(v);
    er_near(y[k] + 0.5f * v * erfcf(0.70710678f * v) - v, 16.0f * ER_EPS * fabsf(v) + ER_FLOOR); /* gelu(x) - gelu(-x) = x */
#endif
  }
}
