/* gelu_tanh_f32: y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2. y may be x. NaN in, NaN out. */
#include "base.h"

static void er_gelu_tanh_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k];
    y[k] = 0.5f * v * (1.0f + tanhf(0.79788456f * (v + 0.044715f * v * v * v)));
  }
}
