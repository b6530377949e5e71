/* dequantize_i32: y = (float)(x - zero) * scale; the difference is exact before it is rounded. */
#include "base.h"

static void er_dequantize_i32(const int32_t *x, int32_t n, int32_t zero, float scale, float *y) {
  int32_t k;
  for (k = 0; k < n; ++k) y[k] = (float)((int64_t)x[k] - zero) * scale;
}
