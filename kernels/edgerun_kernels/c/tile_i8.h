/* Sums of products of int16 inputs and int8 weights for two pixels and two outputs, or one pixel and four.
 *
 * Two weights share a halfword h = low + 256 high, low being of one output and high of the next. Sums of x h and of x low are taken, and
 * the difference is 256 times the sum of x high, modulo 2^32: one unpacking instruction for four weights. The generator sees to it
 * that the sums of high weights are below 2^23 (else it takes tile_i16.h).
 * Layout: [outputs / 4][runs][inputs of a run / 2][outputs 0 and 1, outputs 2 and 3][2 inputs], runs filled up with zeros. */
#include "dsp.h"

#if ER_DSP
#define ER_LOW(h) const uint32_t h##_low = (uint32_t)__sxtb16((int8x4_t)(h))
#define ER_DOT2(l, r, x, h)                                     \
  do {                                                          \
    l = __smlad((int16x2_t)(x), (int16x2_t)h##_low, l);         \
    r = __smlad((int16x2_t)(x), (int16x2_t)(h), r);             \
  } while (0)
#else
#define ER_LOW(h)
#define ER_DOT2(l, r, x, h)                                                                                              \
  do {                                                                                                                   \
    l = (int32_t)((uint32_t)(l) + (uint32_t)((x)[0] * (int8_t)((h)[0] & 255)) + (uint32_t)((x)[1] * (int8_t)((h)[1] & 255))); \
    r = (int32_t)((uint32_t)(r) + (uint32_t)((x)[0] * (h)[0]) + (uint32_t)((x)[1] * (h)[1]));                            \
  } while (0)
#endif

/* The sum of the higher of two weights. */
ER_INLINE int32_t er_high(int32_t l, int32_t r) { return (int32_t)((uint32_t)r - (uint32_t)l) >> 8; }

#define ER_STEP_2X2(k)              \
  do {                              \
    ER_PAIR(h, w + 4 * (k));        \
    ER_PAIR(p, x0 + 2 * (k));       \
    ER_PAIR(q, x1 + 2 * (k));       \
    ER_LOW(h);                      \
    ER_DOT2(l0, r0, p, h);          \
    ER_DOT2(l1, r1, q, h);          \
  } while (0)

/* Adds to s the sums l and r of pixel x0, then of pixel x1, with two outputs. */
ER_INLINE void er_tile_2x2(const int16_t *x0, const int16_t *x1, const int16_t *w, int32_t pairs, int32_t *s) {
  int32_t l0 = s[0], r0 = s[1], l1 = s[2], r1 = s[3];
  const int16_t *const end = w + 4 * pairs;
  for (; end - w >= 32; x0 += 16, x1 += 16, w += 32) {
    ER_STEP_2X2(0);
    ER_STEP_2X2(1);
    ER_STEP_2X2(2);
    ER_STEP_2X2(3);
    ER_STEP_2X2(4);
    ER_STEP_2X2(5);
    ER_STEP_2X2(6);
    ER_STEP_2X2(7);
  }
  if (end - w >= 16) {
    ER_STEP_2X2(0);
    ER_STEP_2X2(1);
    ER_STEP_2X2(2);
    ER_STEP_2X2(3);
    x0 += 8, x1 += 8, w += 16;
  }
  for (; w < end; x0 += 2, x1 += 2, w += 4) ER_STEP_2X2(0);
  s[0] = l0, s[1] = r0, s[2] = l1, s[3] = r1;
}

#define ER_STEP_1X4(k)              \
  do {                              \
    ER_PAIR(p, x + 2 * (k));        \
    ER_PAIR(h, w + 4 * (k));        \
    ER_PAIR(g, w + 4 * (k) + 2);    \
    ER_LOW(h);                      \
    ER_LOW(g);                      \
    ER_DOT2(l0, r0, p, h);          \
    ER_DOT2(l1, r1, p, g);          \
  } while (0)

/* Adds to s the sums l and r of pixel x with outputs 0 and 1, then with outputs 2 and 3. */
ER_INLINE void er_tile_1x4(const int16_t *x, const int16_t *w, int32_t pairs, int32_t *s) {
  int32_t l0 = s[0], r0 = s[1], l1 = s[2], r1 = s[3];
  const int16_t *const end = w + 4 * pairs;
  for (; end - w >= 16; x += 8, w += 16) {
    ER_STEP_1X4(0);
    ER_STEP_1X4(1);
    ER_STEP_1X4(2);
    ER_STEP_1X4(3);
  }
  for (; w < end; x += 2, w += 4) ER_STEP_1X4(0);
  s[0] = l0, s[1] = r0, s[2] = l1, s[3] = r1;
}
