/* tile_i8.h with weights of 16 bits, in their order; for uint8 weights whose zero point takes them out of int8. */
#include "dsp.h"

#if ER_DSP
#define ER_DOT4_I16(s, x, w) \
  s = __smlad((int16x2_t)er_word((x) + 2), (int16x2_t)er_word((w) + 4), __smlad((int16x2_t)er_word(x), (int16x2_t)er_word(w), s))
#else
#define ER_DOT4_I16(s, x, w)                                                                                     \
  do {                                                                                                           \
    int16_t w_[4];                                                                                               \
    memcpy(w_, (w), sizeof w_);                                                                                  \
    s = (int32_t)((uint32_t)(s) + (uint32_t)((x)[0] * w_[0]) + (uint32_t)((x)[1] * w_[1]) + (uint32_t)((x)[2] * w_[2]) + \
                  (uint32_t)((x)[3] * w_[3]));                                                                   \
  } while (0)
#endif

ER_INLINE void er_tile_2x2_i16(const int16_t *x0, const int16_t *x1, const int8_t *w, int32_t steps, int32_t *s) {
  for (; steps > 0; --steps, x0 += 4, x1 += 4, w += 32) {
    ER_DOT4_I16(s[0], x0, w);
    ER_DOT4_I16(s[1], x0, w + 8);
    ER_DOT4_I16(s[2], x1, w);
    ER_DOT4_I16(s[3], x1, w + 8);
  }
}

ER_INLINE void er_tile_1x4_i16(const int16_t *x, const int8_t *w, int32_t steps, int32_t *s) {
  int32_t k;
  for (; steps > 0; --steps, x += 4, w += 32)
    for (k = 0; k < 4; ++k) ER_DOT4_I16(s[k], x, w + 8 * k);
}
