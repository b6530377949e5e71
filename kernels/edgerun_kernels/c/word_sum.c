/* Two sums over bytes that were written: y = x ^ (x >> 16) of every word x, s = sum of y, t = sum of s, modulo 2^32.
 *
 * Every one or two flipped bits of less than 512 KiB show: a flip of bit b changes y by d = +-2^b (b < 16) or 2^(b - 16) (+-1 +- 2^16),
 * which is never 0, and s with it. Two of them cancel in s only where b is the same and the d are opposite; then t changes by d times
 * the distance of the words: d is 2^15 at most times an odd number, so that is not 0 below 2^17 words (kernels/cpp/integrity). */
#include "watch.h"

typedef struct {
  uint32_t plain, weighted;
} er_word_sums;

static er_word_sums er_word_sum(const void *data, int32_t bytes) {
  const uint8_t *p = data;
  er_word_sums s = {0, 0};
  for (; bytes >= 4; bytes -= 4, p += 4) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
    s.plain += x ^ x >> 16;
    s.weighted += s.plain;
  }
  if (bytes > 0) {
    uint32_t x = 0;
    memcpy(&x, p, (size_t)bytes);
    s.plain += x ^ x >> 16;
    s.weighted += s.plain;
  }
  return s;
}

static int er_same(const void *data, int32_t bytes, const er_word_sums *known) {
  const er_word_sums now = er_word_sum(data, bytes);
  return now.plain == known->plain && now.weighted == known->weighted;
}
