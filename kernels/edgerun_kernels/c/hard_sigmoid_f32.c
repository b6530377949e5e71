/* hard_sigmoid_f32: y = alpha x + beta within [0, 1]. y may be x. NaN in, NaN out. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_hard_sigmoid_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  for (k = 0; k < n; ++k) {
    const float v = alpha * x[k] + beta;
    y[k] = v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
#if ER_MAED
    er_finite(v);
    { /* h(u) + h(1 - u) = 1 */
      const float u = 1.0f - v, mirrored = u < 0.0f ? 0.0f : u > 1.0f ? 1.0f : u;
      er_near(y[k] + mirrored - 1.0f, 8.0f * ER_EPS * (1.0f + fabsf(beta)));
    }
#endif
  }
}
