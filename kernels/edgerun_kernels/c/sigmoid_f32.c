/* sigmoid_f32: y = 1 / (1 + e^-x). y may be x. NaN in, NaN out. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_sigmoid_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k];
    y[k] = 1.0f / (1.0f + expf(-v));
#if ER_MAED
    er_finite(v);
    { /* y (1 + e^x) = e^x */
      const float e = expf(er_clamp(v, 86.0f));
      er_near(ER_MADD(y[k], e, y[k]) - e, 16.0f * ER_EPS * e + ER_FLOOR);
    }
#endif
  }
}
