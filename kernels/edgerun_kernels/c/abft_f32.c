/* Checksum of a float32 product, Y = X W + bias (Huang and Abraham, 1984): abft_i8.c says how; both sides round.
 *
 * They differ by at most m u S, whatever the data: S = sum |x||w| + sum |bias|, u = 2^-24, m the roundings on the longest way into a sum
 * (Higham, Accuracy and Stability, 3.1); sums of sums are taken with TwoSum, which rounds once. `unit` is 1.01 m u. No result is
 * larger than S: with a reach, a bound that the steps before give, mean |x| must be below it (planner/reach.py). */
#include "watch.h"

typedef struct {
  int32_t rows, columns, width, channels, batch, image; /* as in abft_i8.c */
  int32_t sure; /* whether x cannot be negative: one sum serves as the other */
  float bias, bias_size, unit, elements;                /* sums of bias and of its size over all outputs; elements of x */
} er_audit_f32;

typedef struct {
  float sum, below, size, far; /* expected = sum + below; S; sum |x| */
} er_expect_f32;

/* Adds v, a product or a few, to what is expected. */
ER_INLINE void er_expect(er_expect_f32 *e, float v) {
  const float before = e->sum, sum = before + v, added = sum - before;
  e->below += (before - (sum - added)) + (v - added);
  e->sum = sum;
}

static void er_sum_f32(er_expect_f32 *e, const float *x, int32_t outer, int32_t outer_step, int32_t inner, int32_t inner_step,
                       int32_t channels, int32_t sure, const float *sums, const float *sizes) {
  int32_t c = 0, i, j;
  for (; c + 4 <= channels; c += 4, x += 4) {
    float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f, f0 = 0.0f, f1 = 0.0f, f2 = 0.0f, f3 = 0.0f;
    for (i = 0; i < outer; ++i) {
      const float *p = x + i * outer_step;
      float t0 = 0.0f, t1 = 0.0f, t2 = 0.0f, t3 = 0.0f, g0 = 0.0f, g1 = 0.0f, g2 = 0.0f, g3 = 0.0f;
      if (sure) {
        for (j = inner; j > 0; --j, p += inner_step) t0 += p[0], t1 += p[1], t2 += p[2], t3 += p[3];
        g0 = fabsf(t0), g1 = fabsf(t1), g2 = fabsf(t2), g3 = fabsf(t3);
      }
      for (j = sure ? 0 : inner; j > 0; --j, p += inner_step) {
        t0 += p[0], g0 += fabsf(p[0]);
        t1 += p[1], g1 += fabsf(p[1]);
        t2 += p[2], g2 += fabsf(p[2]);
        t3 += p[3], g3 += fabsf(p[3]);
      }
      s0 += t0, s1 += t1, s2 += t2, s3 += t3;
      f0 += g0, f1 += g1, f2 += g2, f3 += g3;
    }
    er_expect(e, ER_MADD(s0, sums[c], s1 * sums[c + 1]) + ER_MADD(s2, sums[c + 2], s3 * sums[c + 3]));
    e->size += ER_MADD(f0, sizes[c], f1 * sizes[c + 1]) + ER_MADD(f2, sizes[c + 2], f3 * sizes[c + 3]);
    e->far += (f0 + f1) + (f2 + f3);
  }
  for (; c < channels; ++c, ++x) {
    float s = 0.0f, f = 0.0f;
    for (i = 0; i < outer; ++i) {
      const float *p = x + i * outer_step;
      float t = 0.0f, g = 0.0f;
      for (j = inner; j > 0; --j, p += inner_step) t += *p, g += fabsf(*p);
      s += t, f += g;
    }
    er_expect(e, s * sums[c]);
    e->size = ER_MADD(f, sizes[c], e->size);
    e->far += f;
  }
}

/* Compares with what the kernel saw, and forgets that. size: gets S; reach: what no |x| can exceed, infinite without. */
static void er_abft_f32(const er_audit_f32 *a, const int32_t *rows, const int32_t *columns, const float *sums, const float *sizes,
                        const float *x, float *size, float reach) {
  er_expect_f32 e = {0.0f, 0.0f, 0.0f, 0.0f};
  int32_t image, r, c;
  e.sum = a->bias, e.size = a->bias_size;
  for (image = 0; image < a->batch; ++image, x += a->image) {
    const float *of = sums;
    for (r = 0; r < a->rows; ++r) {
      for (c = 0; c < a->columns; ++c, of += a->channels) {
        const int32_t *const row = rows + 3 * r, *const column = columns + 3 * c;
        const float *const from = x + (row[0] * a->width + column[0]) * a->channels;
        const int32_t down = row[1] * a->width * a->channels, right = column[1] * a->channels;
        if (row[2] > column[2]) /* the longer way is the inner loop */
          er_sum_f32(&e, from, column[2], right, row[2], down, a->channels, a->sure, of, sizes);
        else
          er_sum_f32(&e, from, row[2], down, column[2], right, a->channels, a->sure, of, sizes);
      }
    }
  }
  if (e.size <= 1e38f) { /* else nothing can be said */
    const float apart = (er_watch.seen_f32 - e.sum) + (er_watch.below - e.below);
    if (!(fabsf(apart) <= a->unit * e.size + 1e-37f)) er_watch.now |= 1u << ER_CHECK_ABFT;
  }
#if ER_RANGE
  if (!(e.far <= 1.01f * reach * a->elements)) er_watch.now |= 1u << ER_CHECK_RANGE;
#else
  (void)reach;
#endif
  *size = e.size;
  er_watch.seen_f32 = er_watch.below = 0.0f;
}
