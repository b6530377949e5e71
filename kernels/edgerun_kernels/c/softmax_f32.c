/* softmax_f32: y = e^(x - max) / sum e^(x - max) along an axis of `n` elements that lie `inner` apart. y may be x.
 * A row with a NaN becomes NaN. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_softmax_f32(const float *x, int32_t outer, int32_t n, int32_t inner, float *y) {
  int32_t o, i, k;
  for (o = 0; o < outer; ++o) {
    for (i = 0; i < inner; ++i) {
      const float *from = x + (o * n * inner + i);
      float *to = y + (o * n * inner + i);
      float most = from[0], sum = 0.0f;
      for (k = 1; k < n; ++k) most = from[k * inner] > most ? from[k * inner] : most;
      for (k = 0; k < n; ++k) {
        const float e = expf(from[k * inner] - most);
        to[k * inner] = e;
        sum += e;
      }
      for (k = 0; k < n; ++k) to[k * inner] /= sum;
#if ER_MAED
      for (sum = -1.0f, k = 0; k < n; ++k) sum += to[k * inner]; /* a row sums to 1 */
      er_near(sum, ER_EPS * (float)(n < 64 ? 64 : n));
#endif
    }
  }
}
