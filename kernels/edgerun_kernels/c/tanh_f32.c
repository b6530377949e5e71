/* tanh_f32: y = tanh x. y may be x. NaN in, NaN out. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_tanh_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k];
    y[k] = tanhf(v);
#if ER_MAED
    er_finite(v);
    { /* y = -tanh(-x): y (m + 2) = -m with m = e^-2x - 1 */
      const float m = expm1f(-2.0f * er_clamp(v, 10.0f));
      er_near(ER_MADD(y[k], m, 2.0f * y[k]) + m, 16.0f * ER_EPS * fabsf(m) + ER_FLOOR);
    }
#endif
  }
}
