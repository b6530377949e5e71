/* qadd_{i8,u8}: y = clamp(y_zero + (((a - a_zero) a_mult + (b - b_zero) b_mult + 2^(shift-1)) >> shift), low, high), elementwise.
 *
 * offset: -a_zero a_mult - b_zero b_mult + 2^(shift-1), with the zero points as int8 (modulo 2^32: the whole sum fits); a_flip, b_flip:
 * 0x80 for uint8. y may be a or b. */
#include "base.h"

typedef struct {
  int32_t a_mult, b_mult, shift, y_zero, low, high;
  uint32_t offset;
  uint8_t a_flip, b_flip;
} er_qadd_terms;

static void er_qadd(const er_qadd_terms *t, const uint8_t *a, const uint8_t *b, int32_t n, uint8_t *y) {
  int32_t k;
  for (k = 0; k < n; ++k) {
    const uint32_t left = (uint32_t)(int8_t)(a[k] ^ t->a_flip) * (uint32_t)t->a_mult;
    const uint32_t right = (uint32_t)(int8_t)(b[k] ^ t->b_flip) * (uint32_t)t->b_mult;
    int32_t v = ((int32_t)(left + right + t->offset) >> t->shift) + t->y_zero;
    v = v < t->low ? t->low : v > t->high ? t->high : v;
    y[k] = (uint8_t)v;
  }
}
