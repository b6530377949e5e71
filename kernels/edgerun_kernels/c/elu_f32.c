/* elu_f32: y = x, or alpha (e^x - 1) below 0. y may be x. NaN in, NaN out. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_elu_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k];
    y[k] = v > 0.0f ? v : alpha * expm1f(v);
#if ER_MAED
    er_finite(v);
    if (v > 0.0f) {
      er_near(y[k] - v, 0.0f);
    } else { /* (y / alpha + 1) e^-x = 1: y (m + 1) = -alpha m with m = e^-x - 1 */
      const float m = expm1f(-er_clamp(v, 20.0f));
      er_near(ER_MADD(y[k], m, y[k]) + alpha * m, 16.0f * ER_EPS * fabsf(alpha * m) + ER_FLOOR);
    }
#endif
  }
}
