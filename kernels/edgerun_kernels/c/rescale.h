/* Rescaling of int32 sums to bytes in integers only; the definition is docs/int8.md, bit by bit.
 *
 * factor: twice the m of there, so that rescale(t) = (t * factor + 2^31) >> 32. */
#include "dsp.h"
#if ER_CHECKED
#include "watch.h"
#endif

/* Constants of a quantised product. Bytes are int8 inside: uint8 v is taken as v - 128, which is v with its upper bit flipped. */
typedef struct {
  const int32_t *bias;   /* of every output and three more; where x_zero is not subtracted from x, it has what that adds */
  const int32_t *factor; /* likewise; NULL: the sums themselves are the result, int32 */
  const int8_t *left;    /* likewise, shift before the product; NULL: none */
  int32_t x_zero, y_zero, low, high;
  int32_t within;        /* whether low or high is within the range of int8 */
  int32_t large;         /* whether a sum can be beyond what its left shift leaves room for */
  int32_t plain;         /* whether bytes come of a factor and a zero point alone: int8, no left shift, not within */
  uint32_t x_flip, y_flip; /* 0x80808080 and 0x80 where x and y are uint8, else 0 */
} er_quant;

ER_INLINE int32_t er_rescale(int32_t t, int32_t factor) {
  const int64_t product = (int64_t)t * factor; /* >> of negative numbers is arithmetic in all compilers meant */
  return (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31);
}

/* rescale(t) + zero. */
ER_INLINE int32_t er_rescale_onto(int32_t t, int32_t factor, int32_t zero) {
#if ER_DSP && defined(__GNUC__) && defined(__thumb2__) /* ACLE has no name for the one instruction that does it */
  int32_t v;
  __asm__("smmlar %0, %1, %2, %3" : "=r"(v) : "r"(t), "r"(factor), "r"(zero));
  return v;
#else
  return er_rescale(t, factor) + zero;
#endif
}

/* v within the range of int8. */
ER_INLINE int32_t er_saturate(int32_t v) {
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
  return (int32_t)__builtin_arm_ssat(v, 8); /* __ssat of arm_acle.h warns of a conversion in gcc 12 */
#else
  return v < -128 ? -128 : v > 127 ? 127 : v;
#endif
}

/* t, at most +-(2^(31 - left) - 1), times 2^left. */
ER_INLINE int32_t er_shift_left(int32_t t, int32_t left) {
  const int32_t most = (int32_t)(0x7fffffffu >> left);
  t = t > most ? most : t < -most ? -most : t;
  return (int32_t)((uint32_t)t << left);
}

/* Bytes of sums v[4], bias included, of outputs c[4], as they are stored: in place. q->factor is there. */
ER_INLINE void er_narrow4(const er_quant *q, int32_t *v, int32_t c0, int32_t c1, int32_t c2, int32_t c3) {
  const int32_t *const f = q->factor;
  const int32_t zero = q->y_zero;
  if (q->plain) {
    v[0] = er_saturate(er_rescale_onto(v[0], f[c0], zero));
    v[1] = er_saturate(er_rescale_onto(v[1], f[c1], zero));
    v[2] = er_saturate(er_rescale_onto(v[2], f[c2], zero));
    v[3] = er_saturate(er_rescale_onto(v[3], f[c3], zero));
    return;
  }
  if (q->left) {
    const int8_t *const left = q->left;
    const int32_t l0 = left[c0], l1 = left[c1], l2 = left[c2], l3 = left[c3];
    if (q->large) {
      v[0] = er_shift_left(v[0], l0);
      v[1] = er_shift_left(v[1], l1);
      v[2] = er_shift_left(v[2], l2);
      v[3] = er_shift_left(v[3], l3);
    } else {
      v[0] = (int32_t)((uint32_t)v[0] << l0);
      v[1] = (int32_t)((uint32_t)v[1] << l1);
      v[2] = (int32_t)((uint32_t)v[2] << l2);
      v[3] = (int32_t)((uint32_t)v[3] << l3);
    }
  }
  v[0] = er_saturate(er_rescale_onto(v[0], f[c0], zero));
  v[1] = er_saturate(er_rescale_onto(v[1], f[c1], zero));
  v[2] = er_saturate(er_rescale_onto(v[2], f[c2], zero));
  v[3] = er_saturate(er_rescale_onto(v[3], f[c3], zero));
  if (q->within) {
    const int32_t low = q->low, high = q->high;
    v[0] = v[0] < low ? low : v[0] > high ? high : v[0];
    v[1] = v[1] < low ? low : v[1] > high ? high : v[1];
    v[2] = v[2] < low ? low : v[2] > high ? high : v[2];
    v[3] = v[3] < low ? low : v[3] > high ? high : v[3];
  }
  if (q->y_flip) {
    v[0] ^= 0x80;
    v[1] ^= 0x80;
    v[2] ^= 0x80;
    v[3] ^= 0x80;
  }
}

#if ER_TWICE
/* er_rescale once more: by another instruction where the core has one, else of what the compiler takes for another number. */
ER_WITHIN int32_t er_rescale_again(int32_t t, int32_t factor) {
#if ER_DSP && defined(__GNUC__) && defined(__arm__)
  int32_t v;
  __asm__("smmulr %0, %1, %2" : "=r"(v) : "r"(t), "r"(factor));
  return v;
#else
  ER_FORGET(t);
  return er_rescale(t, factor);
#endif
}

/* The byte of sum t once more. */
ER_WITHIN int32_t er_byte_again(const er_quant *q, int32_t t, int32_t c) {
  int32_t v;
  if (q->left) t = q->large ? er_shift_left(t, q->left[c]) : (int32_t)((uint32_t)t << q->left[c]);
  v = er_saturate(er_rescale_again(t, q->factor[c]) + q->y_zero);
  if (q->within) v = v > q->high ? q->high : v < q->low ? q->low : v;
  return v ^ (int32_t)q->y_flip;
}

/* er_narrow4, verified. */
ER_WITHIN void er_narrow4_verified(const er_quant *q, int32_t *v, int32_t c0, int32_t c1, int32_t c2, int32_t c3) {
  const int32_t t0 = v[0], t1 = v[1], t2 = v[2], t3 = v[3];
  int32_t differs;
  er_narrow4(q, v, c0, c1, c2, c3);
  differs = v[0] ^ er_byte_again(q, t0, c0);
  differs |= v[1] ^ er_byte_again(q, t1, c1);
  differs |= v[2] ^ er_byte_again(q, t2, c2);
  differs |= v[3] ^ er_byte_again(q, t3, c3);
  if ((differs & 255) != 0) er_watch.now |= 1u << ER_CHECK_MAED;
}
#define er_narrow4 er_narrow4_verified

#endif
/* The byte of sum t of output c where q->plain; factor, zero: q's. */
ER_INLINE uint8_t er_plain(const er_quant *q, int32_t t, int32_t c, int32_t factor, int32_t zero) {
  const int32_t v = er_saturate(er_rescale_onto(t, factor, zero));
#if ER_ABFT
  er_see(t);
#endif
#if ER_TWICE
  if (v != er_saturate(er_rescale_again(t, factor) + zero)) er_watch.now |= 1u << ER_CHECK_MAED;
#endif
  (void)q, (void)c;
  return (uint8_t)v;
}

/* Stores one sum as element `at` of y, which belongs to output c. */
ER_INLINE void er_store_sum(const er_quant *q, int32_t sum, int32_t c, void *y, int32_t at) {
#if ER_ABFT
  er_see(sum);
#endif
  if (q->factor) {
    int32_t v = q->left ? er_shift_left(sum, q->left[c]) : sum;
    v = er_saturate(er_rescale_onto(v, q->factor[c], q->y_zero));
    v = v < q->low ? q->low : v > q->high ? q->high : v;
#if ER_TWICE
    if (((uint32_t)(v ^ er_byte_again(q, sum, c)) ^ q->y_flip) & 255u) er_watch.now |= 1u << ER_CHECK_MAED;
#endif
    ((uint8_t *)y)[at] = (uint8_t)((uint32_t)v ^ q->y_flip);
  } else {
    ((int32_t *)y)[at] = sum;
  }
}
