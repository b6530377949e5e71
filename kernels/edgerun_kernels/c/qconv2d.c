/* qconv2d_{i8,u8}: y = clamp(rescale(sum (x - x_zero) w + bias) + y_zero, low, high), channels-last, grouped, exact.
 *
 * Rows of x are widened to int16 in scratch, with their padding. Where one group reads neighbouring columns (joined), the rows of one window
 * lie column by column, [column][kernel_h][in_c], so that a window is a single run; else in a ring of as many rows as the window spans,
 * and a run is one pixel's inputs of a group. Weights: tile_i8.h, in the order of the runs. y must not overlap x. */
#include "rescale.h"
#include "tile_i16.h"
#include "tile_i8.h"
#include "widen_i8.h"
#include "window.h"

/* How rows lie: rows kept, elements of one, columns of it that lie in the image (behind pad_left others); inputs of a pixel and group; lines and runs of a line in a window, pairs of inputs in a run;
 * wide: whether weights lie as in tile_i16.h; joined: see above, then lines and runs are 1. */
typedef struct {
  int32_t rows, length, inside, inputs, lines, runs, pairs, wide, joined;
} er_ring;

#ifdef ER_WIDE_WEIGHTS
#define ER_WIDE(ring) ((ring)->wide)
#else
#define ER_WIDE(ring) 0
#endif

/* Widens row `h` of one image, which may lie outside of it; columns of `pitch` elements. What lies beside the image is there already. */
ER_APART void er_ring_row(const er_window *g, const er_ring *ring, const er_quant *q, const uint8_t *image, int32_t h, int32_t pitch,
                          int16_t *to) {
  const int32_t c = g->in_c;
  int32_t j, k;
  to += g->pad_left * pitch;
  if (h >= 0 && h < g->in_h) {
    er_widen(image + h * g->in_w * c, ring->inside, c, q->x_flip, to, pitch);
  } else {
    for (j = 0; j < ring->inside; ++j, to += pitch)
      for (k = 0; k < c; ++k) to[k] = (int16_t)q->x_zero;
  }
}

/* Two outputs from c on of two neighbouring pixels: s as the tiles leave it. n: how many of the outputs there are. */
ER_INLINE void er_finish_2x2(const er_window *g, const er_quant *q, int32_t wide, int32_t *s, int32_t c, int32_t n, void *y, int32_t at) {
  const int32_t b0 = q->bias[c], b1 = q->bias[c + 1], next = at + g->out_c;
  s[1] = (wide ? s[1] : er_high(s[0], s[1])) + b1;
  s[3] = (wide ? s[3] : er_high(s[2], s[3])) + b1;
  s[0] += b0;
  s[2] += b0;
#if ER_ABFT
  er_watch.seen += (uint32_t)s[0] + (uint32_t)s[2] + (n > 1 ? (uint32_t)s[1] + (uint32_t)s[3] : 0u);
#endif
  if (q->factor) {
    uint8_t *to = (uint8_t *)y + at, *const beside = (uint8_t *)y + next;
    er_narrow4(q, s, c, c + 1, c, c + 1);
    to[0] = (uint8_t)s[0];
    beside[0] = (uint8_t)s[2];
    if (n > 1) {
      to[1] = (uint8_t)s[1];
      beside[1] = (uint8_t)s[3];
    }
  } else {
    int32_t *to = (int32_t *)y + at, *const beside = (int32_t *)y + next;
    to[0] = s[0];
    beside[0] = s[2];
    if (n > 1) {
      to[1] = s[1];
      beside[1] = s[3];
    }
  }
}

/* All outputs of one group for two neighbouring pixels, `step` elements apart. x: the window's first column; top: the ring's row under the
 * window's first. first: number of the group's first output; at: where this lies in y. */
ER_APART void er_qconv_2(const er_window *g, const er_ring *ring, const er_quant *q, const int16_t *x, int32_t step, int32_t top,
                         const int16_t *w, int32_t first, int32_t at, void *restrict y) {
  const int32_t outputs = g->out_c / g->group, width = ER_WIDE(ring) ? 8 : 4, pairs = ring->pairs;
  const int32_t size = pairs * width, next_run = g->dilation_w * g->in_c, next_row = g->dilation_h * ring->length;
  const int32_t panel = size * ring->runs * ring->lines;
  const int16_t *const end = x + ring->rows * ring->length;
  int32_t o, i, j;
  for (o = 0; o < outputs; o += 2, w += o & 2 ? 0 : panel) {
    const int16_t *from = w + (o & 2 ? width / 2 : 0), *row = x + top * ring->length;
    int32_t s[4] = {0, 0, 0, 0};
    for (i = ring->lines; i > 0; --i) {
      const int16_t *p = row;
      for (j = ring->runs; j > 0; --j, p += next_run, from += size) {
        if (ER_WIDE(ring))
          er_tile_2x2_i16(p, p + step, from, pairs, s);
        else
          er_tile_2x2(p, p + step, from, pairs, s);
      }
      row += next_row;
      if (row >= end) row -= end - x;
    }
    er_finish_2x2(g, q, ER_WIDE(ring), s, first + o, outputs - o, y, at + o);
  }
}

/* The same where a window is one run. plain: q->plain, known where this is compiled. */
ER_INLINE void er_qconv_2_joined(const er_window *g, const er_ring *ring, const er_quant *q, const int16_t *x, int32_t step,
                                 const int16_t *w, int32_t at, void *restrict y, int32_t plain) {
  const int32_t outputs = g->out_c, pairs = ring->pairs, zero = q->y_zero;
  const int16_t *const beside = x + step;
  const int32_t *bias = q->bias, *factor = q->factor;
  uint8_t *to = (uint8_t *)y + at;
  int32_t o;
  for (o = 0; o < outputs; o += 2, bias += 2, factor += 2, to += 2, w += o & 2 ? 2 : 4 * pairs - 2) {
    int32_t s[4] = {0, 0, 0, 0};
    er_tile_2x2(x, beside, w, pairs, s);
    if (plain) {
      const int32_t b0 = bias[0], b1 = bias[1], f0 = factor[0], f1 = factor[1];
      const int32_t s1 = er_high(s[0], s[1]) + b1, s3 = er_high(s[2], s[3]) + b1, s0 = s[0] + b0, s2 = s[2] + b0;
      to[0] = er_plain(q, s0, o, f0, zero);
      to[outputs] = er_plain(q, s2, o, f0, zero);
      if (o + 1 == outputs) return;
      to[1] = er_plain(q, s1, o + 1, f1, zero);
      to[outputs + 1] = er_plain(q, s3, o + 1, f1, zero);
    } else {
      er_finish_2x2(g, q, 0, s, o, outputs - o, y, at + o);
    }
  }
}

ER_APART void er_qconv_2_plain(const er_window *g, const er_ring *ring, const er_quant *q, const int16_t *x, int32_t step,
                               const int16_t *w, int32_t at, void *restrict y) {
  er_qconv_2_joined(g, ring, q, x, step, w, at, y, 1);
}

ER_APART void er_qconv_2_run(const er_window *g, const er_ring *ring, const er_quant *q, const int16_t *x, int32_t step, const int16_t *w,
                             int32_t at, void *restrict y) {
  er_qconv_2_joined(g, ring, q, x, step, w, at, y, 0);
}

/* The same for one pixel. */
ER_APART void er_qconv_1(const er_window *g, const er_ring *ring, const er_quant *q, const int16_t *x, int32_t top, const int16_t *w,
                         int32_t first, int32_t at, void *restrict y) {
  const int32_t outputs = g->out_c / g->group, size = ring->pairs * (ER_WIDE(ring) ? 8 : 4);
  const int32_t next_run = g->dilation_w * g->in_c, next_row = g->dilation_h * ring->length;
  const int16_t *const end = x + ring->rows * ring->length;
  int32_t o, i, j, k;
  for (o = 0; o < outputs; o += 4) {
    const int16_t *row = x + top * ring->length;
    const int32_t n = outputs - o < 4 ? outputs - o : 4;
    int32_t s[4] = {0, 0, 0, 0};
    for (i = ring->lines; i > 0; --i) {
      const int16_t *p = row;
      for (j = ring->runs; j > 0; --j, p += next_run, w += size) {
        if (ER_WIDE(ring))
          er_tile_1x4_i16(p, w, ring->pairs, s);
        else
          er_tile_1x4(p, w, ring->pairs, s);
      }
      row += next_row;
      if (row >= end) row -= end - x;
    }
    if (!ER_WIDE(ring)) s[1] = er_high(s[0], s[1]), s[3] = er_high(s[2], s[3]);
    if (n == 4 && q->plain) {
      const int32_t *const bias = q->bias + first + o;
      uint8_t *const to = (uint8_t *)y + at + o;
      s[0] += bias[0], s[1] += bias[1], s[2] += bias[2], s[3] += bias[3];
#if ER_ABFT
      er_watch.seen += (uint32_t)s[0] + (uint32_t)s[1] + (uint32_t)s[2] + (uint32_t)s[3];
#endif
      er_narrow4(q, s, first + o, first + o + 1, first + o + 2, first + o + 3);
      to[0] = (uint8_t)s[0], to[1] = (uint8_t)s[1], to[2] = (uint8_t)s[2], to[3] = (uint8_t)s[3];
      continue;
    }
    for (k = 0; k < n; ++k) er_store_sum(q, s[k] + q->bias[first + o + k], first + o + k, y, at + o + k);
  }
}

static void er_qconv2d(const er_window *g, const er_ring *ring, const er_quant *q, const uint8_t *x, const int16_t *w, int16_t *scratch,
                       void *y) {
  const int32_t outputs = g->out_c / g->group, pitch = ring->joined ? g->kernel_h * g->in_c : g->in_c, step = g->stride_w * pitch;
  const int32_t weights = (outputs + 3) / 4 * (ER_WIDE(ring) ? 8 : 4) * ring->pairs * ring->runs * ring->lines; /* of a group */
  int32_t image, h, at, group;
  if (ring->inside * g->in_c < ring->length) /* the padding */
    for (at = 0; at < ring->rows * ring->length; ++at) scratch[at] = (int16_t)q->x_zero;
  for (image = 0; image < g->batch; ++image, x += g->in_h * g->in_w * g->in_c) {
    int32_t next = 0; /* the first row, counted from the padding on, that is not in the ring */
    for (h = 0; h < g->out_h; ++h) {
      const int32_t top = h * g->stride_h, first = ring->joined ? 0 : top % ring->rows;
      if (ring->joined) {
        for (next = 0; next < g->kernel_h; ++next)
          er_ring_row(g, ring, q, x, top + next * g->dilation_h - g->pad_top, pitch, scratch + next * g->in_c);
      } else {
        if (next < top) next = top;
        for (; next < top + ring->rows; ++next)
          er_ring_row(g, ring, q, x, next - g->pad_top, pitch, scratch + next % ring->rows * ring->length);
      }
      for (group = 0; group < g->group; ++group) {
        const int16_t *from = scratch + group * ring->inputs, *panels = w + group * weights;
        int32_t to = (image * g->out_h + h) * g->out_w * g->out_c + group * outputs;
        for (at = 0; at + 1 < g->out_w; at += 2, from += 2 * step, to += 2 * g->out_c) {
          if (ring->joined && !ER_WIDE(ring) && q->plain)
            er_qconv_2_plain(g, ring, q, from, step, panels, to, y);
          else if (ring->joined && !ER_WIDE(ring))
            er_qconv_2_run(g, ring, q, from, step, panels, to, y);
          else
            er_qconv_2(g, ring, q, from, step, first, panels, group * outputs, to, y);
        }
        if (at < g->out_w) er_qconv_1(g, ring, q, from, first, panels, group * outputs, to, y);
      }
    }
  }
}
