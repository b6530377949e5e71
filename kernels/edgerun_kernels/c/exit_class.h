/* The class that an exit's scores speak for: the largest, of equals the first; a NaN before all others. */
#include "base.h"

ER_INLINE int32_t er_exit_class(const float *scores, int32_t n) {
  int32_t best = 0, k;
  for (k = 0; k < n; ++k) {
    if (scores[k] != scores[k]) return k;
    if (scores[k] > scores[best]) best = k;
  }
  return best;
}
