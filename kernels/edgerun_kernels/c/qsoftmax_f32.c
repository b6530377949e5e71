/* qsoftmax with float results: y = e / s in float64, rounded once; e = table[max - x], s = sum e, along an axis of `n` bytes that lie
 * `inner` apart. table[d] = 2^30 e^(-scale_x d). flip: 0x80 for uint8, 0 for int8. */
#include "base.h"

static void er_qsoftmax_f32(const uint8_t *x, int32_t outer, int32_t n, int32_t inner, uint8_t flip, const int32_t *table, float *y) {
  int32_t o, i, k;
  for (o = 0; o < outer; ++o) {
    for (i = 0; i < inner; ++i) {
      const uint8_t *from = x + (o * n * inner + i);
      float *to = y + (o * n * inner + i);
      int32_t most = -128;
      int64_t sum = 0;
      for (k = 0; k < n; ++k) {
        const int32_t v = (int8_t)(from[k * inner] ^ flip);
        most = v > most ? v : most;
      }
      for (k = 0; k < n; ++k) sum += table[most - (int8_t)(from[k * inner] ^ flip)];
      for (k = 0; k < n; ++k) to[k * inner] = (float)((double)table[most - (int8_t)(from[k * inner] ^ flip)] / (double)sum);
    }
  }
}
