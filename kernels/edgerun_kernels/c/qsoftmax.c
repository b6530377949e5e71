/* qsoftmax_{i8,u8}: softmax of bytes along an axis of `n` elements that lie `inner` apart, by table[d] = 2^30 e^(-scale_x d).
 *
 * e = table[max - x], s = sum e: y = clamp(y_zero + (2 e inverse + 2^12 s) / (2^13 s), low, high). flip: 0x80 for uint8. y may be x. */
#include "base.h"

typedef struct {
  int32_t outer, n, inner, inverse, y_zero, low, high;
  uint8_t flip;
} er_qsoftmax_shape;

static void er_qsoftmax(const er_qsoftmax_shape *g, const int32_t *table, const uint8_t *x, uint8_t *y) {
  int32_t o, i, k;
  for (o = 0; o < g->outer; ++o) {
    for (i = 0; i < g->inner; ++i) {
      const uint8_t *from = x + (o * g->n * g->inner + i);
      uint8_t *to = y + (o * g->n * g->inner + i);
      int32_t most = -128;
      int64_t sum = 0;
      for (k = 0; k < g->n; ++k) {
        const int32_t v = (int8_t)(from[k * g->inner] ^ g->flip);
        most = v > most ? v : most;
      }
      for (k = 0; k < g->n; ++k) sum += table[most - (int8_t)(from[k * g->inner] ^ g->flip)];
      for (k = 0; k < g->n; ++k) {
        const int64_t e = table[most - (int8_t)(from[k * g->inner] ^ g->flip)];
        int64_t v = g->y_zero + (2 * e * g->inverse + (sum << 12)) / (sum << 13);
        v = v < g->low ? g->low : v > g->high ? g->high : v;
        to[k * g->inner] = (uint8_t)v;
      }
    }
  }
}
