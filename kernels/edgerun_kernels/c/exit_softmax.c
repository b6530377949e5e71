/* Probabilities of an exit's logits z, p = softmax(z / temperature); all NaN where a logit is. p must not be z. */
#include "exit_class.h"

static void er_exit_softmax(const float *z, int32_t n, float temperature, float *p) {
  const float top = z[er_exit_class(z, n)] / temperature;
  float sum = 0.0f;
  int32_t k;
  for (k = 0; k < n; ++k) {
    p[k] = expf(z[k] / temperature - top);
    sum += p[k];
  }
  for (k = 0; k < n; ++k) p[k] /= sum;
}
