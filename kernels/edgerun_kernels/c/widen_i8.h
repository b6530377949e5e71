/* Bytes to int16, in their order; flip: 0x80808080 takes uint8 v as v - 128, 0 takes int8. */
#include "dsp.h"

/* n pixels of c bytes; the pixels of y are `pitch` elements apart. */
ER_APART void er_widen(const uint8_t *x, int32_t n, int32_t c, uint32_t flip, int16_t *y, int32_t pitch) {
  int32_t j, k;
  if (pitch == c) c *= n, n = 1;
#if ER_DSP
  if (c >= 4 && (c % 4 == 0 || n == 1)) {
    for (j = 0; j < n; ++j, y += pitch - (c & ~3)) {
      for (k = c; k >= 4; k -= 4, x += 4, y += 4) {
        const uint32_t v = er_word(x) ^ flip;
        const uint32_t even = (uint32_t)__sxtb16((int8x4_t)v), odd = (uint32_t)__sxtb16((int8x4_t)(v >> 8));
        const uint32_t low = (even & 0xffffu) | (odd << 16), high = (even >> 16) | (odd & 0xffff0000u);
        memcpy(y, &low, sizeof low);
        memcpy(y + 2, &high, sizeof high);
      }
    }
    for (k = 0; k < c % 4; ++k) y[k - pitch + (c & ~3)] = (int8_t)(x[k] ^ (uint8_t)flip); /* of a single row */
    return;
  }
#endif
  if (c == 3) {
    for (j = n; j > 0; --j, x += 3, y += pitch) {
      y[0] = (int8_t)(x[0] ^ (uint8_t)flip);
      y[1] = (int8_t)(x[1] ^ (uint8_t)flip);
      y[2] = (int8_t)(x[2] ^ (uint8_t)flip);
    }
    return;
  }
  for (k = 0; k < c; ++k) {
    const uint8_t *from = x + k;
    int16_t *to = y + k;
    for (j = n; j > 0; --j, from += c, to += pitch) *to = (int8_t)(*from ^ (uint8_t)flip);
  }
}
