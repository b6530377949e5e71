/* quantize_f32: y = saturate(rint(x / scale) + zero), half to even; NaN gives zero. Bytes of int8 or uint8 by their bounds. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_quantize_f32(const float *x, int32_t n, float scale, int32_t zero, int32_t low, int32_t high, uint8_t *y) {
  int32_t k;
  for (k = 0; k < n; ++k) {
    const float q = x[k] / scale;
    int32_t v = zero;
#if ER_MAED
    er_finite(x[k]);
#endif
    if (q > -1024.0f && q < 1024.0f)
      v += (int32_t)rintf(q);
    else if (q == q)
      v = q < 0.0f ? low : high;
    v = v < low ? low : v > high ? high : v;
    y[k] = (uint8_t)v;
  }
}
