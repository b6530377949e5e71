/* tile_i8.h for weights that do not go there: of 16 bits (uint8 weights with a zero point), or with sums that are too large.
 *
 * Layout: [outputs / 4][runs][inputs of a run / 2][4 outputs][2 inputs], runs filled up with zeros. */
#include "dsp.h"

#define ER_DOT2_I16(s, x, w) \
  do {                       \
    ER_PAIR(x_, x);          \
    ER_PAIR(w_, w);          \
    ER_DOT_PAIR(s, x_, w_);  \
  } while (0)

/* Adds to s the sums of pixel x0, then of pixel x1, with two outputs. */
ER_INLINE void er_tile_2x2_i16(const int16_t *x0, const int16_t *x1, const int16_t *w, int32_t pairs, int32_t *s) {
  for (; pairs > 0; --pairs, x0 += 2, x1 += 2, w += 8) {
    ER_DOT2_I16(s[0], x0, w);
    ER_DOT2_I16(s[1], x0, w + 2);
    ER_DOT2_I16(s[2], x1, w);
    ER_DOT2_I16(s[3], x1, w + 2);
  }
}

/* Adds to s the sums of pixel x with four outputs. */
ER_INLINE void er_tile_1x4_i16(const int16_t *x, const int16_t *w, int32_t pairs, int32_t *s) {
  int32_t k;
  for (; pairs > 0; --pairs, x += 2, w += 8)
    for (k = 0; k < 4; ++k) ER_DOT2_I16(s[k], x, w + 2 * k);
}
