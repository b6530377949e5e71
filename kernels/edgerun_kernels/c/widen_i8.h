/* Bytes to int16, in their order; flip: 0x80808080 takes uint8 v as v - 128, 0 takes int8. */
#include "dsp.h"

static void er_widen(const uint8_t *x, int32_t n, uint32_t flip, int16_t *y) {
  int32_t k = 0;
#if ER_DSP
  for (; k + 4 <= n; k += 4) {
    const uint32_t v = er_word(x + k) ^ flip;
    const uint32_t even = (uint32_t)__sxtb16((int8x4_t)v), odd = (uint32_t)__sxtb16((int8x4_t)(v >> 8));
    const uint32_t low = (even & 0xffffu) | (odd << 16), high = (even >> 16) | (odd & 0xffff0000u);
    memcpy(y + k, &low, sizeof low);
    memcpy(y + k + 2, &high, sizeof high);
  }
#endif
  for (; k < n; ++k) y[k] = (int8_t)(x[k] ^ (uint8_t)flip);
}
