/* lut_x8: y = table[x], x taken as unsigned. y may be x. */
#include "base.h"

static void er_lut_x8(const uint8_t *x, int32_t n, const uint8_t *table, uint8_t *y) {
  int32_t k;
  for (k = 0; k < n; ++k) y[k] = table[x[k]];
}
