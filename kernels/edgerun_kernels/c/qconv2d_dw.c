/* qconv2d_dw_{i8,u8}: depthwise qconv2d; output channel o reads input channel o / m, m = out_c / in_c.
 *
 * The rows of one window are widened to int16 in scratch, for four channels at a time: a strip for each, [column][kernel_h], in which a window
 * is a single run (or, where it is dilated, one of every column). Rows stay while windows see them, each in its place, so that the window's first row moves from place to place: the
 * weights of these channels lie in scratch for every such phase. w int16 (int8, or uint8 less its zero point): [out_c][runs][2 pairs], the
 * window column by column, runs filled up with a zero. Bias: of sums of x. y must not overlap x. */
#include "rescale.h"
#include "window.h"

/* How many columns of a strip lie in the image (behind pad_left others); elements from strip to strip; runs of a window, elements between
 * them, pairs of a run; phases: kernel_h, or 1 where all rows are widened again for every row of windows. */
typedef struct {
  int32_t inside, length, runs, next, pairs, phases;
} er_strips;

/* Widens row h of the image into n strips. x: the first channel's elements in the image; y: the row's place. What lies beside the image is in
 * the strips already. */
ER_APART void er_strips_row(const er_window *g, const er_strips *t, const er_quant *q, const uint8_t *x, int32_t h, int32_t n, int16_t *y) {
  const int32_t length = t->length, pitch = g->kernel_h, c = g->in_c, inside = t->inside;
  const uint32_t flip = q->x_flip;
  int32_t j, k;
  y += g->pad_left * pitch;
  if (h < 0 || h >= g->in_h) {
    for (k = 0; k < n; ++k, y += length)
      for (j = 0; j < inside; ++j) y[j * pitch] = (int16_t)q->x_zero;
    return;
  }
  x += h * g->in_w * c;
#if ER_DSP
  if (n == 4) {
    for (j = inside; j > 0; --j, x += c, y += pitch) {
      const uint32_t v = er_word(x) ^ flip;
      const uint32_t even = (uint32_t)__sxtb16((int8x4_t)v), odd = (uint32_t)__sxtb16((int8x4_t)(v >> 8));
      y[0] = (int16_t)even;
      y[length] = (int16_t)odd;
      y[2 * length] = (int16_t)(even >> 16);
      y[3 * length] = (int16_t)(odd >> 16);
    }
    return;
  }
#endif
  for (k = 0; k < n; ++k, ++x, y += length)
    for (j = 0; j < inside; ++j) y[j * pitch] = (int8_t)(x[j * c] ^ (uint8_t)flip);
}

/* The weights of n channels for every phase: where the window's first row lies in place `phase`. */
ER_APART void er_strips_turn(const er_window *g, const er_strips *t, const int16_t *w, int32_t n, int16_t *to) {
  const int32_t rows = g->kernel_h, all = 2 * t->pairs, odd = all - rows * g->kernel_w;
  int32_t phase, k, j, i;
  for (phase = 0; phase < t->phases; ++phase) {
    const int16_t *from = w;
    for (k = 0; k < n; ++k, from += odd) {
      for (j = 0; j < g->kernel_w; ++j, from += rows) {
        for (i = rows - phase; i < rows; ++i) *to++ = from[i];
        for (i = 0; i < rows - phase; ++i) *to++ = from[i];
      }
      if (odd) *to++ = 0;
    }
  }
}

/* Channels c to c + channels of n pixels, where windows have five pairs (3x3), and q->plain. Windows lie `step` elements apart, results of
 * neighbouring pixels `pitch` bytes. y: of the first channel and pixel. */
ER_APART void er_strips_5(const er_quant *q, const int16_t *strips, int32_t length, int32_t step, const int16_t *w, int32_t c,
                          int32_t channels, int32_t n, uint8_t *restrict y, int32_t pitch) {
  const int32_t zero = q->y_zero, *bias = q->bias + c, *factor = q->factor + c;
  for (; channels > 0; --channels, strips += length, w += 10, ++bias, ++factor, ++y, ++c) {
    const int32_t b = *bias, f = *factor;
    const int16_t *x = strips;
    uint8_t *to = y;
    int32_t left = n;
    ER_PAIR(w0, w);
    ER_PAIR(w1, w + 2);
    ER_PAIR(w2, w + 4);
    ER_PAIR(w3, w + 6);
    ER_PAIR(w4, w + 8);
    for (; left > 0; --left, x += step, to += pitch) {
      int32_t s = b;
      ER_PAIR(x0, x);
      ER_PAIR(x1, x + 2);
      ER_PAIR(x2, x + 4);
      ER_PAIR(x3, x + 6);
      ER_PAIR(x4, x + 8);
      ER_DOT_PAIR(s, x0, w0);
      ER_DOT_PAIR(s, x1, w1);
      ER_DOT_PAIR(s, x2, w2);
      ER_DOT_PAIR(s, x3, w3);
      ER_DOT_PAIR(s, x4, w4);
      *to = er_plain(q, s, c, f, zero);
    }
  }
}

/* Channel c of n pixels, whatever the window; at: of the first in y. */
ER_APART void er_strip(const er_strips *t, const er_quant *q, const int16_t *x, int32_t step, const int16_t *w, int32_t c, int32_t n,
                       void *restrict y, int32_t at, int32_t pitch) {
  const int32_t bias = q->bias[c], runs = t->runs, pairs = t->pairs, next = t->next - 2 * pairs, plain = q->plain, zero = q->y_zero;
  const int32_t factor = plain ? q->factor[c] : 0;
  for (; n > 0; --n, x += step, at += pitch) {
    const int16_t *run = x, *weights = w;
    int32_t s = bias, j, k;
    for (j = runs; j > 0; --j, run += next) {
      for (k = pairs; k > 0; --k, run += 2, weights += 2) {
        ER_PAIR(p, run);
        ER_PAIR(v, weights);
        ER_DOT_PAIR(s, p, v);
      }
    }
    if (plain)
      ((uint8_t *)y)[at] = er_plain(q, s, c, factor, zero);
    else
      er_store_sum(q, s, c, y, at);
  }
}

static void er_qconv2d_dw(const er_window *g, const er_strips *t, const er_quant *q, const uint8_t *x, const int16_t *w, int16_t *strips,
                          void *y) {
  const int32_t m = g->out_c / g->in_c, rows = g->kernel_h, step = g->stride_w * rows, length = t->length;
  const int32_t size = 2 * t->runs * t->pairs; /* of a channel's weights */
  int16_t *const turned = strips + 4 * length;
  int32_t image, h, c, i, o;
  for (i = 0; i < 4 * length; ++i) strips[i] = (int16_t)q->x_zero;
  for (image = 0; image < g->batch; ++image, x += g->in_h * g->in_w * g->in_c) {
    for (c = 0; c < g->in_c; c += 4) {
      const int32_t n = g->in_c - c < 4 ? g->in_c - c : 4;
      int32_t next = 0; /* the first row, counted from the padding on, that is not in the strips */
      if (t->phases > 1) er_strips_turn(g, t, w + c * m * size, n * m, turned);
      for (h = 0; h < g->out_h; ++h) {
        const int32_t top = h * g->stride_h, at = (image * g->out_h + h) * g->out_w * g->out_c;
        const int16_t *const weights = t->phases > 1 ? turned + top % rows * n * m * size : w + c * m * size;
        if (t->phases > 1) {
          for (next = next < top ? top : next; next < top + rows; ++next)
            er_strips_row(g, t, q, x + c, next - g->pad_top, n, strips + next % rows);
        } else {
          for (i = 0; i < rows; ++i) er_strips_row(g, t, q, x + c, top + i * g->dilation_h - g->pad_top, n, strips + i);
        }
        if (t->runs == 1 && t->pairs == 5 && q->plain && m == 1) {
          er_strips_5(q, strips, length, step, weights, c, n, g->out_w, (uint8_t *)y + at + c, g->out_c);
        } else {
          for (o = 0; o < n * m; ++o)
            er_strip(t, q, strips + o / m * length, step, weights + o * size, c * m + o, g->out_w, y, at + c * m + o, g->out_c);
        }
      }
    }
  }
}
