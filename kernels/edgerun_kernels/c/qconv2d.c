/* qconv2d_{i8,u8}: y = clamp(rescale(sum (x - x_zero) w + bias) + y_zero, low, high), channels-last, grouped, exact.
 *
 * Rows of x are widened to int16 once, in a ring of as many rows as the window spans (scratch), with their padding. Weights: tile_i8.h;
 * a run is what lies side by side in a row: the window's row, or one pixel's inputs of a group. y must not overlap x. */
#include "rescale.h"
#include "tile_i16.h"
#include "tile_i8.h"
#include "widen_i8.h"
#include "window.h"

/* How the ring lies: rows, elements of a row, inputs of a pixel and group, runs in a row of the window, steps of four inputs in a run;
 * wide: whether weights have 16 bits. */
typedef struct {
  int32_t rows, length, run, runs, steps, wide;
} er_ring;

#ifdef ER_WIDE_WEIGHTS
#define ER_WIDE(ring) ((ring)->wide)
#else
#define ER_WIDE(ring) 0
#endif

/* Widens row `h` of one image, which may lie outside of it. */
static void er_ring_row(const er_window *g, const er_ring *ring, const er_quant *q, const uint8_t *image, int32_t h, int16_t *to) {
  const int32_t before = g->pad_left * g->in_c;
  const int32_t fits = ring->length - before, width = g->in_w * g->in_c;
  const int32_t n = h < 0 || h >= g->in_h ? 0 : fits < width ? fits : width;
  int32_t k;
  for (k = 0; k < (n ? before : ring->length); ++k) to[k] = (int16_t)q->x_zero;
  if (n == 0) return;
  er_widen(image + h * width, n, q->flip, to + before);
  for (k = before + n; k < ring->length; ++k) to[k] = (int16_t)q->x_zero;
}

/* All outputs of one group for two neighbouring pixels (pair), or for one. x: in the ring's columns; top: the ring's row under the
 * window's first. first: number of the group's first output; at: where this lies in y. */
static void er_qconv_pixels(const er_window *g, const er_ring *ring, const er_quant *q, const int16_t *x, int32_t top, const int8_t *w,
                            int32_t pair, int32_t first, int32_t at, void *y) {
  const int32_t outputs = g->out_c / g->group, step = g->stride_w * g->in_c, size = 1 + ER_WIDE(ring);
  int32_t o, i, j, k;
  for (o = 0; o < outputs; o += pair ? 2 : 4) {
    const int32_t n = outputs - o < (pair ? 2 : 4) ? outputs - o : pair ? 2 : 4;
    const int8_t *from = w + (pair && (o & 2) ? 8 * size : 0);
    const int32_t *bias = q->bias + first + o;
    int32_t s[4], row = top;
    if (pair) {
      s[0] = s[2] = bias[0];
      s[1] = s[3] = n > 1 ? bias[1] : 0;
    } else {
      for (k = 0; k < 4; ++k) s[k] = k < n ? bias[k] : 0;
    }
    for (i = 0; i < g->kernel_h; ++i) {
      const int16_t *p = x + row * ring->length;
      for (j = 0; j < ring->runs; ++j, p += g->dilation_w * g->in_c, from += 16 * ring->steps * size) {
        if (ER_WIDE(ring) && pair)
          er_tile_2x2_i16(p, p + step, from, ring->steps, s);
        else if (ER_WIDE(ring))
          er_tile_1x4_i16(p, from, ring->steps, s);
        else if (pair)
          er_tile_2x2(p, p + step, from, ring->steps, s);
        else
          er_tile_1x4(p, from, ring->steps, s);
      }
      row += g->dilation_h;
      if (row >= ring->rows) row -= ring->rows;
    }
    if (pair) {
      er_store_sum(q, s[0], first + o, y, at + o);
      er_store_sum(q, s[2], first + o, y, at + o + g->out_c);
      if (n > 1) {
        er_store_sum(q, s[1], first + o + 1, y, at + o + 1);
        er_store_sum(q, s[3], first + o + 1, y, at + o + 1 + g->out_c);
      }
    } else {
      for (k = 0; k < n; ++k) er_store_sum(q, s[k], first + o + k, y, at + o + k);
    }
    if (!pair || (o & 2)) w += 16 * size * ring->steps * ring->runs * g->kernel_h;
  }
}

static void er_qconv2d(const er_window *g, const er_ring *ring, const er_quant *q, const uint8_t *x, const void *weights, int16_t *scratch,
                       void *y) {
  const int32_t outputs = g->out_c / g->group, size = 16 * (1 + ER_WIDE(ring));
  const int32_t panels = size * ((outputs + 3) / 4) * ring->steps * ring->runs * g->kernel_h; /* bytes of a group */
  const int8_t *w = weights;
  int32_t image, h, at, group;
  for (image = 0; image < g->batch; ++image, x += g->in_h * g->in_w * g->in_c) {
    int32_t next = 0; /* the first row, counted from the padding on, that is not in the ring */
    for (h = 0; h < g->out_h; ++h) {
      const int32_t top = h * g->stride_h;
      if (next < top) next = top;
      for (; next < top + ring->rows; ++next)
        er_ring_row(g, ring, q, x, next - g->pad_top, scratch + next % ring->rows * ring->length);
      for (at = 0; at < g->out_w;) {
        const int32_t pair = at + 1 < g->out_w;
        const int16_t *from = scratch + at * g->stride_w * g->in_c;
        const int32_t to = ((image * g->out_h + h) * g->out_w + at) * g->out_c;
        for (group = 0; group < g->group; ++group)
          er_qconv_pixels(g, ring, q, from + group * ring->run, top % ring->rows, w + group * panels, pair, group * outputs,
                          to + group * outputs, y);
        at += 1 + pair;
      }
    }
  }
}
