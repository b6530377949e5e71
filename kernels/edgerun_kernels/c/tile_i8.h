/* Sums of products of int16 inputs and int8 weights for two pixels and two outputs, or one pixel and four.
 *
 * Weights lie in panels of four outputs, [outputs / 4][runs][inputs of a run / 4][4 outputs][4 inputs]; of four inputs the middle two
 * are exchanged, so that sxtb16 gives them in pairs. Runs are filled up with zero weights to a multiple of four. */
#include "dsp.h"

#if ER_DSP
#define ER_PAIRS(v, w)                                                   \
  const int16x2_t v##a = (int16x2_t)__sxtb16((int8x4_t)er_word(w)),      \
                  v##b = (int16x2_t)__sxtb16((int8x4_t)(er_word(w) >> 8))
#define ER_DOT4(s, lo, hi, v) s = __smlad((int16x2_t)(hi), v##b, __smlad((int16x2_t)(lo), v##a, s))
#define ER_LOAD4(lo, hi, x) const uint32_t lo = er_word(x), hi = er_word((x) + 2)
#else
#define ER_PAIRS(v, w) const int8_t *const v = (w)
#define ER_DOT4(s, lo, hi, v)                                                                                     \
  s = (int32_t)((uint32_t)(s) + (uint32_t)((lo)[0] * (v)[0]) + (uint32_t)((lo)[1] * (v)[2]) + (uint32_t)((hi)[0] * (v)[1]) + \
                (uint32_t)((hi)[1] * (v)[3]))
#define ER_LOAD4(lo, hi, x) const int16_t *const lo = (x), *const hi = (x) + 2
#endif

/* s[0], s[1]: of pixel x0 with outputs 0 and 1 of the weights' four; s[2], s[3]: of pixel x1. */
ER_INLINE void er_tile_2x2(const int16_t *x0, const int16_t *x1, const int8_t *w, int32_t steps, int32_t *s) {
  int32_t s0 = s[0], s1 = s[1], s2 = s[2], s3 = s[3];
  for (; steps > 0; --steps, x0 += 4, x1 += 4, w += 16) {
    ER_LOAD4(al, ah, x0);
    ER_LOAD4(bl, bh, x1);
    ER_PAIRS(u, w);
    ER_PAIRS(v, w + 4);
    ER_DOT4(s0, al, ah, u);
    ER_DOT4(s1, al, ah, v);
    ER_DOT4(s2, bl, bh, u);
    ER_DOT4(s3, bl, bh, v);
  }
  s[0] = s0, s[1] = s1, s[2] = s2, s[3] = s3;
}

/* s: of pixel x with the four outputs. */
ER_INLINE void er_tile_1x4(const int16_t *x, const int8_t *w, int32_t steps, int32_t *s) {
  int32_t s0 = s[0], s1 = s[1], s2 = s[2], s3 = s[3];
  for (; steps > 0; --steps, x += 4, w += 16) {
    ER_LOAD4(lo, hi, x);
    ER_PAIRS(a, w);
    ER_PAIRS(b, w + 4);
    ER_PAIRS(c, w + 8);
    ER_PAIRS(d, w + 12);
    ER_DOT4(s0, lo, hi, a);
    ER_DOT4(s1, lo, hi, b);
    ER_DOT4(s2, lo, hi, c);
    ER_DOT4(s3, lo, hi, d);
  }
  s[0] = s0, s[1] = s1, s[2] = s2, s[3] = s3;
}
