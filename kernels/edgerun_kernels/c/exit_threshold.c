/* What an exit's score has to exceed (DART, arXiv 2603.12269, Eq. 19; docs/early-exit.md): clip(c t + beta alpha, 0, 1), the threshold t
 * that of the bin in which the input's difficulty alpha lies, the factor c that of the predicted class. t > 1: never. A NaN of alpha
 * stays one, which no score exceeds. */
#include "base.h"

typedef struct {
  const float *thresholds; /* by bin */
  const float *edges;      /* where bin 1 begins, bin 2 ...; ascending */
  const float *factors;    /* by class; the others' is 1 */
  int32_t bins, classes;
  float beta;
} er_exit_table;

static float er_exit_threshold(const er_exit_table *t, int32_t predicted, float alpha) {
  int32_t bin = 0, k;
  float v;
  for (k = 0; k + 1 < t->bins; ++k) bin += alpha >= t->edges[k];
  v = t->thresholds[bin];
  if (v > 1.0f) return v;
  if (predicted < t->classes) v *= t->factors[predicted];
  v += t->beta * alpha;
  return v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
}
