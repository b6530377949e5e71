/* How float32 products end: residual, bounds, store. */
#include "bounds_f32.h"

/* How a product ends. bias and residual may be NULL; residual lies as y does. */
typedef struct {
  const float *bias, *residual;
  er_bounds bounds;
#if ER_MAED
  int32_t form; /* er_form of bounds */
#endif
} er_end_f32;

#if ER_MAED
/* er_off_bounds of four; those that are not stored are sums of nothing. */
ER_INLINE float er_off_bounds4(float off, float x0, float x1, float x2, float x3, float y0, float y1, float y2, float y3,
                               const er_end_f32 *e) {
  if (e->form == 1) return er_off_relu(er_off_relu(er_off_relu(er_off_relu(off, x0, y0), x1, y1), x2, y2), x3, y3);
  if (e->form == 0) return ER_MADD(y3, 0.0f, ER_MADD(y2, 0.0f, ER_MADD(y1, 0.0f, ER_MADD(y0, 0.0f, off))));
  off = er_off_interval(off, x0, y0, &e->bounds);
  off = er_off_interval(off, x1, y1, &e->bounds);
  off = er_off_interval(off, x2, y2, &e->bounds);
  return er_off_interval(off, x3, y3, &e->bounds);
}

#endif
/* Stores the first n of four sums at y[at]. */
#if ER_MAED
ER_WITHIN void er_finish4(float s0, float s1, float s2, float s3, const er_end_f32 *e, float *y, int32_t at, int32_t n) {
#else
ER_INLINE void er_finish4(float s0, float s1, float s2, float s3, const er_end_f32 *e, float *y, int32_t at, int32_t n) {
#endif
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
  er_watch.off = er_off_bounds4(er_watch.off, x0, x1, x2, x3, s0, s1, s2, s3, e);
#endif
  to[0] = s0;
  if (n > 1) to[1] = s1;
  if (n > 2) to[2] = s2;
  if (n > 3) to[3] = s3;
}
