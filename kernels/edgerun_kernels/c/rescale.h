/* Rescaling of int32 sums to bytes in integers only; the definition is docs/int8.md, bit by bit.
 *
 * factor: twice the m of there, so that rescale(t) = (t * factor + 2^31) >> 32, which is smmulr on Arm. */
#include "base.h"

/* Constants of a quantised product. Bytes are taken as int8 everywhere: uint8 v as v - 128, which is v with its upper bit flipped. */
typedef struct {
  const int32_t *bias;   /* of every output, what the zero point of x adds included */
  const int32_t *factor; /* of every output; NULL: the sums themselves are the result, int32 */
  const int8_t *left;    /* of every output: shift before the product; NULL: none */
  int32_t x_zero, y_zero, low, high; /* x_zero as int8; the others in the units of y */
  uint32_t flip;         /* 0x80808080 where x is uint8, else 0 */
} er_quant;

ER_INLINE int32_t er_rescale(int32_t t, int32_t factor) {
  return (int32_t)(((int64_t)t * factor + 0x80000000LL) >> 32); /* >> of a negative number is arithmetic in gcc, clang and armcc */
}

/* t, at most +-(2^(31 - left) - 1), times 2^left. */
ER_INLINE int32_t er_shift_left(int32_t t, int32_t left) {
  const int32_t most = (int32_t)(0x7fffffffu >> left);
  t = t > most ? most : t < -most ? -most : t;
  return (int32_t)((uint32_t)t << left);
}

/* Stores one sum as output number `at`, which belongs to channel c. */
ER_INLINE void er_store_sum(const er_quant *q, int32_t sum, int32_t c, void *y, int32_t at) {
  if (q->factor) {
    int32_t v;
    if (q->left) sum = er_shift_left(sum, q->left[c]);
    v = er_rescale(sum, q->factor[c]) + q->y_zero;
    v = v < q->low ? q->low : v > q->high ? q->high : v;
    ((uint8_t *)y)[at] = (uint8_t)v;
  } else {
    ((int32_t *)y)[at] = sum;
  }
}
