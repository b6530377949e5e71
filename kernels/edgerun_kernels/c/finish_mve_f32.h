/* finish_f32.h for vectors of four outputs, where the core has MVE with floats. */
#include "finish_f32.h"
#include "mve.h"
#if ER_ABFT
#include "watch.h"
#endif

#if ER_MVE && (__ARM_FEATURE_MVE & 2)
#define ER_MVE_FLOAT 1

/* The first n numbers at p, zeros behind them; zeros where p is NULL. */
ER_INLINE float32x4_t er_some_f32(const float *p, int32_t n) {
  if (!p) return vdupq_n_f32(0.0f);
  return n >= 4 ? vldrwq_f32(p) : vldrwq_z_f32(p, vctp32q((uint32_t)n));
}

/* Stores the first n of four sums at y[at]. */
ER_INLINE void er_finish_mve_f32(float32x4_t v, const er_end_f32 *e, float *y, int32_t at, int32_t n) {
#if ER_MAED
  float s[4];
  vstrwq_f32(s, v);
  er_finish4(s[0], s[1], s[2], s[3], e, y, at, n); /* verified one by one */
#else
  if (e->residual) v = vaddq_f32(v, er_some_f32(e->residual + at, n));
  if (e->bounds.low > -INFINITY) { /* by comparison, as NaN stays NaN */
    const float32x4_t low = vdupq_n_f32(e->bounds.low);
    v = vpselq_f32(low, v, vcmpltq_f32(v, low));
  }
  if (e->bounds.high < INFINITY) {
    const float32x4_t high = vdupq_n_f32(e->bounds.high);
    v = vpselq_f32(high, v, vcmpgtq_f32(v, high));
  }
  if (n >= 4)
    vstrwq_f32(y + at, v);
  else
    vstrwq_p_f32(y + at, v, vctp32q((uint32_t)n));
#endif
}

#if ER_ABFT
/* Tells the checksum what four lanes saw. */
ER_INLINE void er_see_mve_f32(float32x4_t v) {
  float s[4];
  vstrwq_f32(s, v);
  er_see_f32((s[0] + s[1]) + (s[2] + s[3]));
}
#endif
#else
#define ER_MVE_FLOAT 0
#endif
