/* clip_f32: y = x within [alpha, beta]; relu is [0, inf]. y may be x. NaN in, NaN out. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_clip_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k];
    y[k] = v < alpha ? alpha : v > beta ? beta : v;
#if ER_MAED
    er_near(v - v, 0.0f); /* finite */
    { /* the bounds once more, in the other order */
      const float capped = v > beta ? beta : v;
      er_near(y[k] - (capped < alpha ? alpha : capped), 0.0f);
    }
#endif
  }
}
