/* hard_swish_f32: y = x (x / 6 + 1/2 within [0, 1]). y may be x. NaN in, NaN out. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_hard_swish_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k] / 6.0f + 0.5f;
#if ER_MAED
    const float from = x[k];
#endif
    y[k] = x[k] * (v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v);
#if ER_MAED
    er_finite(from);
    { /* h(x) - h(-x) = x */
      const float u = 0.5f - from / 6.0f, mirrored = from * (u < 0.0f ? 0.0f : u > 1.0f ? 1.0f : u);
      er_near(y[k] + mirrored - from, 8.0f * ER_EPS * fabsf(from) + ER_FLOOR);
    }
#endif
  }
}
