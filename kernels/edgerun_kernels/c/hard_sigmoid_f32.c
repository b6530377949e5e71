/* hard_sigmoid_f32: y = alpha x + beta within [0, 1]. y may be x. NaN in, NaN out. */
#include "base.h"

static void er_hard_sigmoid_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  for (k = 0; k < n; ++k) {
    const float v = alpha * x[k] + beta;
    y[k] = v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
  }
}
