/* gelu_tanh_f32: y = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2. y may be x. NaN in, NaN out. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_gelu_tanh_f32(const float *x, int32_t n, float alpha, float beta, float *y) {
  int32_t k;
  (void)alpha, (void)beta;
  for (k = 0; k < n; ++k) {
    const float v = x[k];
    y[k] = 0.5f * v * (1.0f + tanhf(0.79788456f * (v + 0.044715f * v * v * v)));
#if ER_MAED
    er_finite(v);
    { /* y (1 + e^-l) = x with l = 2 sqrt(2/pi) (x + 0.044715 x^3) */
      const float c = er_clamp(v, 20.0f), l = er_clamp(1.5957691f * c + 0.071354816f * (c * c * c), 86.0f);
      er_near(y[k] - v / (1.0f + expf(-l)), 16.0f * ER_EPS * fabsf(v) + ER_FLOOR);
    }
#endif
  }
}
