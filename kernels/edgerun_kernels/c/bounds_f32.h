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
#if defined(__GNUC__)
#define ER_SELDOM static __attribute__((noinline, unused))
#else
#define ER_SELDOM static
#endif

/* These add to `off` 0 where y is right and finite. Of relu: 2 y - x = |x| holds of the right value only, and does not round. */
ER_INLINE float er_off_relu(float off, float x, float y) { return off + (ER_MADD(2.0f, y, -x) - fabsf(x)); }

/* Of any interval: the bounds once more, in the other order. */
ER_SELDOM float er_off_interval(float off, float x, float y, const er_bounds *b) {
  float again = x > b->high ? b->high : x;
  again = again < b->low ? b->low : again;
  return off + (fabsf(y - again) + (x - x));
}

/* Which of these an interval needs: 0 none, 1 relu, 2 any. */
ER_INLINE int32_t er_form(const er_bounds *b) {
  const int32_t below = b->low > -INFINITY, relu = b->low >= 0.0f && b->low <= 0.0f;
  return b->high < INFINITY || (below && !relu) ? 2 : below;
}

ER_INLINE float er_off_bounds(float off, float x, float y, const er_bounds *b, int32_t form) {
  return form == 1 ? er_off_relu(off, x, y) : form ? er_off_interval(off, x, y, b) : ER_MADD(y, 0.0f, off);
}
#endif
