/* dequantize_{i8,u8}: y = (float)(x - zero) * scale. flip: 0x80 where x is uint8, 0 for int8; zero as int8. */
#include "base.h"

static void er_dequantize_x8(const uint8_t *x, int32_t n, uint8_t flip, int32_t zero, float scale, float *y) {
  int32_t k;
  for (k = 0; k < n; ++k) y[k] = (float)((int8_t)(x[k] ^ flip) - zero) * scale;
}
