/* qmul_{i8,u8}: y = clamp(rescale((a - a_zero)(b - b_zero)) + y_zero, low, high), elementwise, zero points as int8; a_flip, b_flip:
 * 0x80 for uint8. y may be a or b. */
#include "rescale.h"

typedef struct {
  int32_t a_zero, b_zero, factor, left, y_zero, low, high;
  uint8_t a_flip, b_flip;
} er_qmul_terms;

static void er_qmul(const er_qmul_terms *t, const uint8_t *a, const uint8_t *b, int32_t n, uint8_t *y) {
  int32_t k;
  for (k = 0; k < n; ++k) {
    const int32_t product = ((int8_t)(a[k] ^ t->a_flip) - t->a_zero) * ((int8_t)(b[k] ^ t->b_flip) - t->b_zero);
    int32_t v = er_rescale(er_shift_left(product, t->left), t->factor) + t->y_zero;
    v = v < t->low ? t->low : v > t->high ? t->high : v;
    y[k] = (uint8_t)v;
  }
}
