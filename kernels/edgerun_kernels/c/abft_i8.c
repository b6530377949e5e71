/* Checksum of a product of bytes, Y = X W + bias (Huang and Abraham, 1984): the sum of all Y, which the kernel took from its int32 sums,
 * is sum over k of (sum of X that meets k) (sum of W over outputs) + constant, exactly, modulo 2^32.
 *
 * Positions of an axis that the same taps meet share the sums of their weights: they lie in runs {start, step, count}. sums
 * [rows][columns][channels], int16 where they all fit, else int32 (wide): of the weights of all outputs by the taps that meet the run;
 * constant: of biases, zero points and padding. */
#include "dsp.h"
#include "watch.h"

typedef struct {
  int32_t rows, columns, width, channels, batch, image; /* runs of each axis; pixels of a row; elements of an image */
  int32_t wide;
  uint32_t flip, constant;                              /* flip: 0x80808080 where x is uint8, else 0 */
} er_audit_i8;

ER_INLINE uint32_t er_weight(const er_audit_i8 *a, const void *sums, int32_t at) {
  return (uint32_t)(a->wide ? ((const int32_t *)sums)[at] : ((const int16_t *)sums)[at]);
}

/* What channels with these sums of weights come to, over `outer` rows of `inner` bytes or words, so many bytes apart. */
static uint32_t er_sum_i8(const er_audit_i8 *a, const uint8_t *x, int32_t outer, int32_t outer_step, int32_t inner, int32_t inner_step,
                          const void *sums, int32_t at) {
  const uint32_t flip = a->flip;
  const int32_t channels = a->channels;
  uint32_t all = 0;
  int32_t c = 0, i, j;
#if ER_DSP
  for (; c + 4 <= channels; c += 4, x += 4, at += 4) {
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (i = 0; i < outer; ++i) {
      const uint8_t *p = x + i * outer_step;
      for (j = inner; j > 0;) {
        int32_t n = j < 256 ? j : 256; /* as many as halfwords can sum */
        int16x2_t even = 0, odd = 0;
        j -= n;
        for (; n >= 4; n -= 4, p += 4 * inner_step) {
          const uint32_t v0 = er_word(p) ^ flip, v1 = er_word(p + inner_step) ^ flip;
          const uint32_t v2 = er_word(p + 2 * inner_step) ^ flip, v3 = er_word(p + 3 * inner_step) ^ flip;
          even = __sxtab16(__sxtab16(even, (int8x4_t)v0), (int8x4_t)v1);
          odd = __sxtab16(__sxtab16(odd, (int8x4_t)(v0 >> 8)), (int8x4_t)(v1 >> 8));
          even = __sxtab16(__sxtab16(even, (int8x4_t)v2), (int8x4_t)v3);
          odd = __sxtab16(__sxtab16(odd, (int8x4_t)(v2 >> 8)), (int8x4_t)(v3 >> 8));
        }
        for (; n > 0; --n, p += inner_step) {
          const uint32_t v = er_word(p) ^ flip;
          even = __sxtab16(even, (int8x4_t)v);
          odd = __sxtab16(odd, (int8x4_t)(v >> 8));
        }
        {
          const int32_t e = (int16_t)even, o = (int16_t)odd;
          s0 += (uint32_t)e;
          s1 += (uint32_t)o;
          s2 += (uint32_t)((int32_t)even >> 16);
          s3 += (uint32_t)((int32_t)odd >> 16);
        }
      }
    }
    all += s0 * er_weight(a, sums, at) + s1 * er_weight(a, sums, at + 1);
    all += s2 * er_weight(a, sums, at + 2) + s3 * er_weight(a, sums, at + 3);
  }
#endif
  for (; c < channels; ++c, ++x, ++at) {
    uint32_t s = 0;
    for (i = 0; i < outer; ++i) {
      const uint8_t *p = x + i * outer_step;
      for (j = inner; j > 0; --j, p += inner_step) {
        const int32_t v = (int8_t)(*p ^ (uint8_t)flip);
        s += (uint32_t)v;
      }
    }
    all += s * er_weight(a, sums, at);
  }
  return all;
}

/* The same of one pixel. */
static uint32_t er_dot_i8(const er_audit_i8 *a, const uint8_t *x, const void *sums, int32_t at) {
  uint32_t all = 0;
  int32_t c;
  for (c = 0; c < a->channels; ++c) all += (uint32_t)(int8_t)(x[c] ^ (uint8_t)a->flip) * er_weight(a, sums, at + c);
  return all;
}

/* Compares with what the kernel saw, and forgets that. */
static void er_abft_i8(const er_audit_i8 *a, const int32_t *rows, const int32_t *columns, const void *sums, const uint8_t *x) {
  uint32_t expected = a->constant;
  int32_t image, r, c;
  for (image = 0; image < a->batch; ++image, x += a->image) {
    int32_t of = 0;
    for (r = 0; r < a->rows; ++r) {
      for (c = 0; c < a->columns; ++c, of += a->channels) {
        const int32_t *const row = rows + 3 * r, *const column = columns + 3 * c;
        const uint8_t *const from = x + (row[0] * a->width + column[0]) * a->channels;
        const int32_t down = row[1] * a->width * a->channels, right = column[1] * a->channels;
        if (row[2] * column[2] == 1)
          expected += er_dot_i8(a, from, sums, of);
        else if (row[2] > column[2]) /* the longer way is the inner loop */
          expected += er_sum_i8(a, from, column[2], right, row[2], down, sums, of);
        else
          expected += er_sum_i8(a, from, row[2], down, column[2], right, sums, of);
      }
    }
  }
  if (er_watch.seen != expected) er_watch.now |= 1u << ER_CHECK_ABFT;
  er_watch.seen = 0;
}
