/* lut_x8 with its table in program memory: y = table[x], x taken as unsigned. The table begins a page of 256 bytes, so that x is the low
 * half of an element's address. y may be x. */
#include "flash.h"

ER_KERNEL void er_lut_flash(const uint8_t *x, uint16_t n, const uint8_t *table, uint8_t *y) {
#if defined(__AVR__)
  uint16_t pairs = n >> 1;
  uint8_t v;
  if (n & 1) *y++ = ER_READ8(table + *x++);
  if (pairs == 0) return;
  __asm__ volatile(
      "1:\tld r30, X+\n\tlpm %[v], Z\n\tst %a[y]+, %[v]\n\t"
      "ld r30, X+\n\tlpm %[v], Z\n\tst %a[y]+, %[v]\n\t"
      "sbiw %[pairs], 1\n\tbrne 1b"
      : "+x"(x), [y] "+y"(y), "+z"(table), [pairs] "+w"(pairs), [v] "=&r"(v)
      :
      : "memory");
#else
  for (; n > 0; --n) *y++ = ER_READ8(table + *x++);
#endif
}
