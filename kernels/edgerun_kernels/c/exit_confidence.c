/* How sure an exit is: its largest probability, p = softmax(z / temperature) of logits z; NaN where a logit is. */
#include "exit_class.h"

static float er_exit_confidence(const float *z, int32_t n, float temperature) {
  const float top = z[er_exit_class(z, n)] / temperature;
  float sum = 0.0f;
  int32_t k;
  for (k = 0; k < n; ++k) sum += expf(z[k] / temperature - top);
  return 1.0f / sum;
}
