/* Sums of products of int8 inputs and int8 weights for one pixel and four outputs, sixteen inputs at a time, and how they end.
 *
 * Weights: [outputs / 4][inputs / 16][4 outputs][16 inputs], filled up with zeros: what the pixel has behind its last input does not matter. */
#include "mve.h"
#include "rescale.h"

/* s[k]: the sum for output k. x: 16 * blocks readable bytes. */
ER_INLINE void er_dot4_mve(const int8_t *x, const int8_t *w, int32_t blocks, int32_t *s) {
#if ER_MVE
  int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (; blocks > 0; --blocks, x += 16, w += 64) {
    const int8x16_t v = vldrbq_s8(x);
    s0 = vmladavaq_s8(s0, v, vldrbq_s8(w));
    s1 = vmladavaq_s8(s1, v, vldrbq_s8(w + 16));
    s2 = vmladavaq_s8(s2, v, vldrbq_s8(w + 32));
    s3 = vmladavaq_s8(s3, v, vldrbq_s8(w + 48));
  }
  s[0] = s0, s[1] = s1, s[2] = s2, s[3] = s3;
#else
  int32_t b, o, k;
  s[0] = s[1] = s[2] = s[3] = 0;
  for (b = 0; b < blocks; ++b, x += 16)
    for (o = 0; o < 4; ++o)
      for (k = 0; k < 16; ++k) s[o] += x[k] * *w++;
#endif
}

#if ER_MVE
/* rescale(v) + zero, bounded. */
ER_INLINE int32x4_t er_bytes_mve(int32x4_t v, int32x4_t factor, int32_t zero, int32x4_t low, int32x4_t high) {
  /* the upper half of the product, rounded half up */
  const int32x4_t y = vminq_s32(vmaxq_s32(vaddq_n_s32(vrmulhq_s32(v, factor), zero), low), high);
#if ER_TWICE
  /* by another instruction, which doubles the product of half the factor */
  const int32x4_t again = vminq_s32(vmaxq_s32(vaddq_n_s32(vqrdmulhq_s32(v, vshrq_n_s32(factor, 1)), zero), low), high);
  if (vcmpneq_s32(y, again)) er_watch.now |= 1u << ER_CHECK_MAED;
#endif
  return y;
}

/* Sums, bias included, with their factors and shifts, as bytes of the result in lanes of 32 bits. q->factor is there. */
ER_INLINE int32x4_t er_narrow_mve(const er_quant *q, int32x4_t v, int32x4_t factor, int32x4_t left) {
  if (q->left) {
    const int32x4_t most = vshlq_s32(vdupq_n_s32(0x7fffffff), vnegq_s32(left));
    v = vshlq_s32(vmaxq_s32(vminq_s32(v, most), vnegq_s32(most)), left);
  }
  v = er_bytes_mve(v, factor, q->y_zero, vdupq_n_s32(q->low), vdupq_n_s32(q->high));
  return q->y_flip ? veorq_s32(v, vdupq_n_s32(0x80)) : v;
}

/* Tells the checksum of n sums. */
ER_INLINE void er_see_mve(int32x4_t v, int32_t n) {
#if ER_ABFT
  er_watch.seen += (uint32_t)(n >= 4 ? vaddvq_s32(v) : vaddvq_p_s32(v, vctp32q((uint32_t)n)));
#else
  (void)v, (void)n;
#endif
}
#endif

/* Ends and stores the sums s of outputs c to c + 4, of which n are there. at: of the first in y. */
ER_INLINE void er_finish4_mve(const er_quant *q, const int32_t *s, int32_t c, int32_t n, void *y, int32_t at) {
#if ER_MVE
  int32x4_t v = vaddq_s32(vldrwq_s32(s), vldrwq_s32(q->bias + c));
  const int32x4_t none = vdupq_n_s32(0);
  er_see_mve(v, n);
  if (q->factor) {
    int8_t *const to = (int8_t *)y + at;
    v = er_narrow_mve(q, v, vldrwq_s32(q->factor + c), q->left ? vldrbq_s32(q->left + c) : none);
    if (n >= 4)
      vstrbq_s32(to, v);
    else
      vstrbq_p_s32(to, v, vctp32q((uint32_t)n));
  } else {
    vstrwq_p_s32((int32_t *)y + at, v, vctp32q((uint32_t)n));
  }
#else
  int32_t k;
  for (k = 0; k < n && k < 4; ++k) er_store_sum(q, (int32_t)((uint32_t)s[k] + (uint32_t)q->bias[c + k]), c + k, y, at + k);
#endif
}
