/* How sure an exit is, in part by its entropy H: (1 - mix) max p + mix (1 - H(p) / ln n) of probabilities p; NaN where one is;
 * 1 where there is one class only. per_ln_n: 1 / ln n. */
#include "exit_class.h"

static float er_exit_score(const float *p, int32_t n, float mix, float per_ln_n) {
  const float most = p[er_exit_class(p, n)];
  float entropy = 0.0f;
  int32_t k;
  if (n == 1) return most == most ? 1.0f : most;
  for (k = 0; k < n; ++k) entropy -= p[k] == 0.0f ? 0.0f : p[k] * logf(p[k]);
  return (1.0f - mix) * most + mix * (1.0f - entropy * per_ln_n);
}
