/* Rescaling of int32 sums to bytes in integers only; the definition is docs/int8.md, bit by bit.
 *
 * factor: twice the m of there, so that rescale(t) = (t * factor + 2^31) >> 32. */
#include "dsp.h"

/* Constants of a quantised product. Bytes are int8 inside: uint8 v is taken as v - 128, which is v with its upper bit flipped. */
typedef struct {
  const int32_t *bias;   /* of every output and three more; where x_zero is not subtracted from x, it has what that adds */
  const int32_t *factor; /* likewise; NULL: the sums themselves are the result, int32 */
  const int8_t *left;    /* likewise, shift before the product; NULL: none */
  int32_t x_zero, y_zero, low, high;
  int32_t within;        /* whether low or high is within the range of int8 */
  uint32_t x_flip, y_flip; /* 0x80808080 and 0x80 where x and y are uint8, else 0 */
} er_quant;

ER_INLINE int32_t er_rescale(int32_t t, int32_t factor) {
  const int64_t product = (int64_t)t * factor; /* >> of negative numbers is arithmetic in all compilers meant */
  return (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31);
}

/* t, at most +-(2^(31 - left) - 1), times 2^left. */
ER_INLINE int32_t er_shift_left(int32_t t, int32_t left) {
  const int32_t most = (int32_t)(0x7fffffffu >> left);
  t = t > most ? most : t < -most ? -most : t;
  return (int32_t)((uint32_t)t << left);
}

/* The byte, as int8, of the sum of output c; its bias is in. */
ER_INLINE int32_t er_narrow(const er_quant *q, int32_t sum, int32_t c) {
  int32_t v;
  if (q->left) sum = er_shift_left(sum, q->left[c]);
  v = er_rescale(sum, q->factor[c]) + q->y_zero;
  v = v < -128 ? -128 : v; /* one instruction where the core can saturate */
  v = v > 127 ? 127 : v;
  if (!q->within) return v;
  return v < q->low ? q->low : v > q->high ? q->high : v;
}

/* Stores one sum as element `at` of y, which belongs to output c. */
ER_INLINE void er_store_sum(const er_quant *q, int32_t sum, int32_t c, void *y, int32_t at) {
  if (q->factor)
    ((uint8_t *)y)[at] = (uint8_t)((uint32_t)er_narrow(q, sum, c) ^ q->y_flip);
  else
    ((int32_t *)y)[at] = sum;
}
