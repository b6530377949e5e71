/* Logits of an exit that gives probabilities: z = ln p; -infinity for 0. */
#include "base.h"

static void er_exit_log(const float *p, int32_t n, float *z) {
  int32_t k;
  for (k = 0; k < n; ++k) z[k] = logf(p[k]);
}
