/* Relu and Clip as the interval [low, high]; infinite bounds are none. NaN stays NaN: both comparisons are false. */
#include "base.h"

typedef struct {
  float low, high;
} er_bounds;

ER_INLINE float er_bound(float v, const er_bounds *b) {
  v = v < b->low ? b->low : v;
  return v > b->high ? b->high : v;
}
