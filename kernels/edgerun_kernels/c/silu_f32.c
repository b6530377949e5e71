/* silu_f32: y = x / (1 + e^-x). y may be x. NaN in, NaN out. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_silu_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k];
    y[k] = v * (1.0f / (1.0f + expf(-v)));
#if ER_MAED
    er_finite(v);
    { /* y = x e^x / (1 + e^x) */
      const float e = expf(er_clamp(v, 86.0f)), again = v * (e / (1.0f + e));
      er_near(y[k] - again, 16.0f * ER_EPS * fabsf(again) + ER_FLOOR);
    }
#endif
  }
}
