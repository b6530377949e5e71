/* Relu and Clip as the interval [low, high]; infinite bounds are none. NaN stays NaN: both comparisons are false. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

typedef struct {
  float low, high;
} er_bounds;

ER_INLINE float er_bound(float v, const er_bounds *b) {
  v = v < b->low ? b->low : v;
  return v > b->high ? b->high : v;
}

#if ER_MAED
/* Adds to `off` 0 where y is x within the bounds, and finite. Of relu 2 y - x = |x|, which holds of the right value only and does not
 * round (residuals below 3e-23 vanish when squared); without bounds y 0 = 0; else the bounds once more, in the other order. */
ER_INLINE float er_off_bounds(float off, float x, float y, const er_bounds *b) {
  if (b->high < INFINITY) {
    float again = x > b->high ? b->high : x;
    again = again < b->low ? b->low : again;
    again = (y - again) + (x - x);
    return ER_MADD(again, again, off);
  }
  if (b->low > -INFINITY) {
    const float d = x - b->low, r = ER_MADD(2.0f, y - b->low, -d) - fabsf(d);
    return ER_MADD(r, r, off);
  }
  return ER_MADD(y, 0.0f, off);
}
#endif
