/* leaky_relu_f32: y = x, or alpha x below 0. y may be x. NaN in, NaN out. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_leaky_relu_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k];
    y[k] = v < 0.0f ? alpha * v : v;
#if ER_MAED
    er_finite(v);
    er_near(y[k] - ((v > 0.0f ? v : 0.0f) + alpha * (v > 0.0f ? 0.0f : v)), ER_EPS * fabsf(y[k]));
#endif
  }
}
