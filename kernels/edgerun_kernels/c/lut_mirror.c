/* lut_x8 of an activation, verified by its symmetry (MAED, arXiv 2603.18120): sigmoid(x) + sigmoid(-x) = 1, tanh(x) + tanh(-x) = 0.
 *
 * Two pages of program memory: the function's table, then that of the function at -x on the same grid, so that both add up to `total`
 * modulo 256 for every x. Each byte is fetched from both, and the sums over all n must be n * total: a wrong byte, address or entry shows, unless
 * several cancel modulo 256. Loads and stores that were left out show in where the pointers end. Returns 0 where all holds. y may be x. */
#include "flash.h"

ER_KERNEL uint8_t er_lut_mirror(const uint8_t *x, uint16_t n, const uint8_t *tables, uint8_t total, uint8_t *y) {
  const uint8_t *const x_end = x + n, *const y_end = y + n;
  uint8_t sum = (uint8_t)(0 - n * total);
#if defined(__AVR__)
  uint16_t pairs = n >> 1;
  uint8_t v, w;
  if (n & 1) {
    const uint8_t at = *x++;
    *y = ER_READ8(tables + at);
    sum = (uint8_t)(sum + *y++ + ER_READ8(tables + 256 + at));
  }
  if (pairs == 0) return sum;
  __asm__ volatile(
      "1:\tld r30, X+\n\tlpm %[v], Z\n\tst %a[y]+, %[v]\n\tinc r31\n\tlpm %[w], Z\n\tadd %[sum], %[v]\n\tadd %[sum], %[w]\n\t"
      "ld r30, X+\n\tlpm %[w], Z\n\tdec r31\n\tlpm %[v], Z\n\tst %a[y]+, %[v]\n\tadd %[sum], %[v]\n\tadd %[sum], %[w]\n\t"
      "sbiw %[pairs], 1\n\tbrne 1b"
      : "+x"(x), [y] "+y"(y), "+z"(tables), [pairs] "+w"(pairs), [v] "=&r"(v), [w] "=&r"(w), [sum] "+r"(sum)
      :
      : "memory");
#else
  for (; n > 0; --n, ++x) {
    *y = ER_READ8(tables + *x);
    sum = (uint8_t)(sum + *y++ + ER_READ8(tables + 256 + *x));
  }
#endif
  if (x != x_end || y != y_end) sum = 1;
  return sum;
}
