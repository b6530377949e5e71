/* What an exit's score has to exceed (DART, arXiv 2603.12269, Eq. 19; docs/early-exit.md): clip(c t + beta alpha, 0, 1), the threshold t
 * that of the bin in which the input's difficulty alpha lies, the factor c that of the predicted class. t > 1: never. A NaN of alpha
 * stays one, which no score exceeds. table: the thresholds by bin, where bin 1, bin 2 ... begin, the factors by class. */
#include "base.h"

typedef struct {
  int32_t bins, classes; /* the factor of classes beyond is 1 */
  float beta;
} er_exit_table;

static float er_exit_threshold(const er_exit_table *t, const float *table, int32_t predicted, float alpha) {
  const float *edges = table + t->bins, *factors = table + 2 * t->bins - 1;
  int32_t bin = 0, k;
  float v;
  for (k = 0; k + 1 < t->bins; ++k) bin += alpha >= edges[k];
  v = table[bin];
  if (v > 1.0f) return v;
  if (predicted < t->classes) v *= factors[predicted];
  v += t->beta * alpha;
  return v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v;
}
