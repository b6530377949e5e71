/* qmatmul with constant weights in program memory, for cores with an 8-bit multiplier: exact, the same bytes as qconv2d.c's.
 *
 * Bytes and weights are taken as unsigned, w as w + 128, so that a product needs no sign and three bytes hold the sum of 256 of them:
 *   sum x w = sum x (w + 128) - 128 sum x,  x being unsigned (int8 x as x + 128; ER_SIGNED_BYTES says that a program has any).
 * Weights: [outputs / 4][inputs][4], the last panel filled up with 0. ends: for every output the bias, which has what a zero point of x
 * and the 128 of int8 add, and twice the m of docs/int8.md. Sums are below 2^23; where a factor is not below 2^24, or a result before
 * clamping not below 2^15, the layer is `wide` (ER_WIDE: a program has any). */
#include "flash.h"

#define ER_BLOCK 252 /* inputs whose sum of products stays below 2^24; a multiple of 4 */

#if defined(__AVR__)
#ifdef ER_SIGNED_BYTES
#define ER_UNSIGNED "eor %[v], %[flip]\n\t"
#else
#define ER_UNSIGNED
#endif
#define ER_MAC(s)          \
  "lpm %[w], Z+\n\t"       \
  "mul %[v], %[w]\n\t"     \
  "add %A[" s "], r0\n\t"  \
  "adc %B[" s "], r1\n\t"  \
  "adc %C[" s "], %[zero]\n\t"
#define ER_INPUT "ld %[v], X+\n\t" ER_UNSIGNED ER_MAC("a") ER_MAC("b") ER_MAC("c") ER_MAC("d")

/* Sums of n inputs, at most ER_BLOCK, for four outputs: s[4]. Returns where the weights go on. */
ER_KERNEL const uint8_t *er_mac4(const uint8_t *x, const uint8_t *w, uint8_t n, uint8_t flip, uint32_t *s) {
  __extension__ typedef __uint24 sum;
  sum a = 0, b = 0, c = 0, d = 0;
  uint8_t fours = (uint8_t)(n >> 2), rest = n & 3, v, t;
  __asm__ volatile(
      "tst %[fours]\n\t"
      "brne 1f\n\t"
      "rjmp 2f\n"
      "1:\t" ER_INPUT ER_INPUT ER_INPUT ER_INPUT
      "dec %[fours]\n\t"
      "breq 2f\n\t"
      "rjmp 1b\n"
      "2:\ttst %[rest]\n\t"
      "breq 4f\n"
      "3:\t" ER_INPUT
      "dec %[rest]\n\t"
      "brne 3b\n"
      "4:\tclr __zero_reg__"
      : [a] "+&r"(a), [b] "+&r"(b), [c] "+&r"(c), [d] "+&r"(d), "+&x"(x), "+&z"(w), [fours] "+&r"(fours), [rest] "+&r"(rest),
        [v] "=&r"(v), [w] "=&r"(t)
      : [zero] "r"((uint8_t)0), [flip] "r"(flip)
      : "r0", "memory");
  s[0] = a, s[1] = b, s[2] = c, s[3] = d;
  return w;
}

/* (t factor + 2^31) >> 32. */
ER_INLINE int16_t er_rescale24(int32_t t, uint32_t factor) {
  int16_t y;
  uint8_t p1, p2, p3;
  __asm__("clr %[p2]\n\tclr %[p3]\n\tclr %A[y]\n\tclr %B[y]\n\t"
          "mul %A[t], %A[f]\n\tmov %[p1], r1\n\t"
          "mul %A[t], %B[f]\n\tadd %[p1], r0\n\tadc %[p2], r1\n\t" /* no carry: below 2^24 so far */
          "mul %B[t], %A[f]\n\tadd %[p1], r0\n\tadc %[p2], r1\n\tadc %[p3], %[zero]\n\t"
          "mul %A[t], %C[f]\n\tadd %[p2], r0\n\tadc %[p3], r1\n\tadc %A[y], %[zero]\n\t"
          "mul %B[t], %B[f]\n\tadd %[p2], r0\n\tadc %[p3], r1\n\tadc %A[y], %[zero]\n\t"
          "mul %C[t], %A[f]\n\tadd %[p2], r0\n\tadc %[p3], r1\n\tadc %A[y], %[zero]\n\t"
          "mul %B[t], %C[f]\n\tadd %[p3], r0\n\tadc %A[y], r1\n\tadc %B[y], %[zero]\n\t"
          "mul %C[t], %B[f]\n\tadd %[p3], r0\n\tadc %A[y], r1\n\tadc %B[y], %[zero]\n\t"
          "mul %C[t], %C[f]\n\tadd %A[y], r0\n\tadc %B[y], r1\n\t"
          "sbrs %C[t], 7\n\trjmp 1f\n\t" /* a negative t was taken as t + 2^24 */
          "sub %[p3], %A[f]\n\tsbc %A[y], %B[f]\n\tsbc %B[y], %C[f]\n"
          "1:\tlsl %[p3]\n\tadc %A[y], %[zero]\n\tadc %B[y], %[zero]\n\t"
          "clr __zero_reg__"
          : [y] "=&r"(y), [p1] "=&r"(p1), [p2] "=&r"(p2), [p3] "=&r"(p3)
          : [t] "r"(t), [f] "r"(factor), [zero] "r"((uint8_t)0)
          : "r0");
  return y;
}
#else
static const uint8_t *er_mac4(const uint8_t *x, const uint8_t *w, uint8_t n, uint8_t flip, uint32_t *s) {
  uint8_t k, o;
  s[0] = s[1] = s[2] = s[3] = 0;
  for (k = 0; k < n; ++k)
    for (o = 0; o < 4; ++o) s[o] += (uint32_t)(x[k] ^ flip) * ER_READ8(w++);
  return w;
}

ER_INLINE int16_t er_rescale24(int32_t t, uint32_t factor) {
  return (int16_t)(((int64_t)t * (int64_t)factor + INT64_C(0x80000000)) >> 32);
}
#endif

#ifdef ER_WIDE
/* The same for any factor, within 16 bits. */
ER_KERNEL int16_t er_rescale_wide(int32_t t, uint32_t factor) {
  const int32_t v = (int32_t)(((int64_t)t * (int64_t)factor + INT64_C(0x80000000)) >> 32);
  return (int16_t)(v < -32000 ? -32000 : v > 32000 ? 32000 : v);
}
#define ER_RESCALE(t, factor) (wide ? er_rescale_wide((t), (factor)) : er_rescale24((t), (factor)))
#else
#define ER_RESCALE(t, factor) ((void)wide, er_rescale24((t), (factor)))
#endif

/* The sum of n bytes as unsigned ones. */
ER_INLINE uint32_t er_sum_bytes(const uint8_t *x, uint16_t n, uint8_t flip) {
  uint32_t sum = 0;
  while (n > 0) {
    const uint8_t block = (uint8_t)(n < 255 ? n : 255);
    uint16_t part = 0;
    uint8_t k = block;
    do part = (uint16_t)(part + (uint8_t)(*x++ ^ flip));
    while (--k);
    sum += part;
    n = (uint16_t)(n - block);
  }
  return sum;
}

/* y [rows, outputs] of x [rows, inputs]. flip: 0x80 where x is int8, else 0. y_zero, low, high: of y's own type. */
ER_KERNEL void er_qdense(const uint8_t *x, uint16_t rows, uint16_t inputs, uint16_t outputs, uint8_t flip, const uint8_t *w,
                      const int32_t *ends, uint8_t wide, int16_t y_zero, int16_t low, int16_t high, uint8_t *y) {
  for (; rows > 0; --rows, x += inputs) {
    const int32_t shift = (int32_t)(er_sum_bytes(x, inputs, flip) << 7);
    const int32_t *end = ends;
    const uint8_t *from = w;
    uint16_t o, k;
    for (o = 0; o < outputs; o = (uint16_t)(o + 4)) {
      const uint8_t n = (uint8_t)(outputs - o < 4 ? outputs - o : 4);
      uint32_t s[4];
      uint8_t i;
      from = er_mac4(x, from, (uint8_t)(inputs < ER_BLOCK ? inputs : ER_BLOCK), flip, s);
      for (k = ER_BLOCK; k < inputs; k = (uint16_t)(k + ER_BLOCK)) {
        uint32_t more[4];
        from = er_mac4(x + k, from, (uint8_t)(inputs - k < ER_BLOCK ? inputs - k : ER_BLOCK), flip, more);
        for (i = 0; i < 4; ++i) s[i] += more[i];
      }
      for (i = 0; i < n; ++i, end += 2) {
        int16_t v = ER_RESCALE((int32_t)s[i] - shift + (int32_t)ER_READ32(end), (uint32_t)ER_READ32(end + 1));
        v = (int16_t)(v + y_zero);
        v = v < low ? low : v > high ? high : v;
        *y++ = (uint8_t)v;
      }
    }
  }
}
