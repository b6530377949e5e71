/* How float32 products end: residual, bounds, store. */
#include "bounds_f32.h"

/* How a product ends. bias and residual may be NULL; residual lies as y does. */
typedef struct {
  const float *bias, *residual;
  er_bounds bounds;
} er_end_f32;

#if ER_MAED
/* er_off_bounds of four; those that are not stored are sums of nothing. */
ER_INLINE float er_off_bounds4(float off, float x0, float x1, float x2, float x3, float y0, float y1, float y2, float y3,
                               const er_bounds *b) {
  off = er_off_bounds(er_off_bounds(off, x0, y0, b), x1, y1, b);
  return er_off_bounds(er_off_bounds(off, x2, y2, b), x3, y3, b);
}

#endif
/* Stores the first n of four sums at y[at]. */
ER_INLINE void er_finish4(float s0, float s1, float s2, float s3, const er_end_f32 *e, float *y, int32_t at, int32_t n) {
  float *to = y + at;
  if (e->residual) {
    const float *r = e->residual + at;
    s0 += r[0];
    if (n > 1) s1 += r[1];
    if (n > 2) s2 += r[2];
    if (n > 3) s3 += r[3];
  }
#if ER_MAED
  const float x0 = s0, x1 = s1, x2 = s2, x3 = s3;
#endif
  if (e->bounds.low > -INFINITY) {
    const float low = e->bounds.low;
    s0 = s0 < low ? low : s0;
    s1 = s1 < low ? low : s1;
    s2 = s2 < low ? low : s2;
    s3 = s3 < low ? low : s3;
  }
  if (e->bounds.high < INFINITY) {
    const float high = e->bounds.high;
    s0 = s0 > high ? high : s0;
    s1 = s1 > high ? high : s1;
    s2 = s2 > high ? high : s2;
    s3 = s3 > high ? high : s3;
  }
#if ER_MAED
  er_watch.off = er_off_bounds4(er_watch.off, x0, x1, x2, x3, s0, s1, s2, s3, &e->bounds);
#endif
  to[0] = s0;
  if (n > 1) to[1] = s1;
  if (n > 2) to[2] = s2;
  if (n > 3) to[3] = s3;
}
