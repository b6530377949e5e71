/* qconv2d_{i8,u8} for cores with MVE; what it computes: qconv2d.c.
 *
 * The inputs of one window lie side by side as int8, and are multiplied by a matrix: in x itself; or in scratch, into which the rows of a row of
 * windows are copied column by column, [column][kernel_h][in_c], with their padding; or (groups, dilated columns) window by window. Scratch has
 * 15 bytes more than that. Weights: tile_mve.h, [groups][...], inputs in the order of scratch. y must not overlap x. */
#include "tile_mve.h"
#include "window.h"

/* blocks: of 16 inputs in a window; where windows are read: 0 gathered one by one, 1 from rows, 2 from x itself; length, inside: bytes of a row
 * with its padding, columns of it that lie in the image. */
typedef struct {
  int32_t blocks, mode, length, inside;
} er_gather;

/* n bytes with flipped upper bits, or not. */
ER_INLINE int8_t *er_flipped(int8_t *to, const uint8_t *from, int32_t n, uint32_t flip) {
#if ER_MVE
  for (; n >= 16; n -= 16, from += 16, to += 16) vstrbq_u8((uint8_t *)to, veorq_u8(vldrbq_u8(from), vdupq_n_u8((uint8_t)flip)));
#endif
  for (; n >= 4; n -= 4, from += 4, to += 4) {
    const uint32_t v = er_word(from) ^ flip;
    memcpy(to, &v, sizeof v);
  }
  for (; n > 0; --n) *to++ = (int8_t)(*from++ ^ (uint8_t)flip);
  return to;
}

ER_INLINE int8_t *er_filled(int8_t *to, int32_t n, int32_t value) {
  for (; n > 0; --n) *to++ = (int8_t)value;
  return to;
}

/* The inputs of one group for the window whose first tap lies at (top, left); rows, columns: taps in the image. */
ER_APART void er_gather_window(const er_window *g, const er_quant *q, const uint8_t *x, int32_t top, int32_t left, er_taps rows, er_taps columns,
                               int8_t *to) {
  const int32_t inputs = g->in_c / g->group;
  const int32_t zero = q->x_zero, before = columns.from * inputs, after = (g->kernel_w - columns.to) * inputs;
  int32_t i, j;
  to = er_filled(to, rows.from * g->kernel_w * inputs, zero);
  for (i = rows.from; i < rows.to; ++i) {
    const uint8_t *from = x + ((top + i * g->dilation_h) * g->in_w + left + columns.from * g->dilation_w) * g->in_c;
    to = er_filled(to, before, zero);
    for (j = columns.from; j < columns.to; ++j, from += g->dilation_w * g->in_c) to = er_flipped(to, from, inputs, q->x_flip);
    to = er_filled(to, after, zero);
  }
  er_filled(to, (g->kernel_h - rows.to) * g->kernel_w * inputs, zero);
}

/* Row h of the image among the rows of a row of windows. What lies beside the image is there already. */
ER_APART void er_gather_row(const er_window *g, const er_gather *t, const er_quant *q, const uint8_t *x, int32_t h, int8_t *to) {
  const int32_t c = g->in_c, pitch = g->kernel_h * c;
  int32_t j;
  to += g->pad_left * pitch;
  if (h < 0 || h >= g->in_h) {
    for (j = t->inside; j > 0; --j, to += pitch) er_filled(to, c, q->x_zero);
  } else {
    x += h * g->in_w * c;
    if (pitch == c) {
      er_flipped(to, x, t->inside * c, q->x_flip);
    } else if (c == 3) {
      for (j = t->inside; j > 0; --j, to += pitch, x += 3) {
        to[0] = (int8_t)(x[0] ^ (uint8_t)q->x_flip);
        to[1] = (int8_t)(x[1] ^ (uint8_t)q->x_flip);
        to[2] = (int8_t)(x[2] ^ (uint8_t)q->x_flip);
      }
    } else {
      for (j = t->inside; j > 0; --j, to += pitch, x += c) er_flipped(to, x, c, q->x_flip);
    }
  }
}

/* All outputs of one group for one pixel. first: number of the group's first output; at: where this lies in y. plain: q->plain, known where
 * this is compiled. */
ER_INLINE void er_qconv_mve_as(const er_quant *q, const int8_t *x, const int8_t *w, int32_t blocks, int32_t outputs, int32_t first,
                               void *restrict y, int32_t at, int32_t plain) {
  int32_t o = 0;
#if ER_MVE
  if (plain) {
    const int32x4_t low = vdupq_n_s32(-128), high = vdupq_n_s32(127);
    const int32_t *bias = q->bias + first, *factor = q->factor + first, zero = q->y_zero;
    int8_t *to = (int8_t *)y + at;
    for (; o + 4 <= outputs; o += 4, w += 64 * blocks, to += 4, bias += 4, factor += 4) {
      int32_t s[4];
      int32x4_t v;
      er_dot4_mve(x, w, blocks, s);
      v = vaddq_s32(vldrwq_s32(s), vldrwq_s32(bias));
      er_see_mve(v, 4);
      vstrbq_s32(to, er_bytes_mve(v, vldrwq_s32(factor), zero, low, high));
    }
  }
#else
  (void)plain;
#endif
  for (; o < outputs; o += 4, w += 64 * blocks) {
    int32_t s[4];
    er_dot4_mve(x, w, blocks, s);
    er_finish4_mve(q, s, first + o, outputs - o, y, at + o);
  }
}

ER_APART void er_qconv_mve(const er_quant *q, const int8_t *x, const int8_t *w, int32_t blocks, int32_t outputs, int32_t first,
                           void *restrict y, int32_t at) {
  if (q->plain)
    er_qconv_mve_as(q, x, w, blocks, outputs, first, y, at, 1);
  else
    er_qconv_mve_as(q, x, w, blocks, outputs, first, y, at, 0);
}

static void er_qconv2d_mve(const er_window *g, const er_gather *t, const er_quant *q, const uint8_t *x, const int8_t *w, int8_t *scratch,
                           void *y) {
  const int32_t inputs = g->in_c / g->group, outputs = g->out_c / g->group, weights = (outputs + 3) / 4 * 64 * t->blocks;
  const int32_t step = g->stride_w * g->in_c * (t->mode == 1 ? g->kernel_h : 1);
  int32_t image, h, i, pixel, group, at = 0;
  if (t->mode == 1 && t->inside * g->in_c < t->length) er_filled(scratch, g->kernel_h * t->length, q->x_zero); /* the padding */
  for (image = 0; image < g->batch; ++image, x += g->in_h * g->in_w * g->in_c) {
    for (h = 0; h < g->out_h; ++h) {
      const int32_t top = h * g->stride_h - g->pad_top;
      const er_taps rows = er_inside(top, g->kernel_h, g->dilation_h, g->in_h);
      const int8_t *from = t->mode == 2 ? (const int8_t *)x + h * g->in_w * g->in_c : scratch;
      if (t->mode == 1)
        for (i = 0; i < g->kernel_h; ++i) er_gather_row(g, t, q, x, top + i * g->dilation_h, scratch + i * g->in_c);
      for (pixel = 0; pixel < g->out_w; ++pixel, at += g->out_c) {
        const int32_t left = pixel * g->stride_w - g->pad_left;
        if (t->mode) {
          er_qconv_mve(q, from + pixel * step, w, t->blocks, outputs, 0, y, at);
          continue;
        }
        for (group = 0; group < g->group; ++group) {
          er_gather_window(g, q, x + group * inputs, top, left, rows, er_inside(left, g->kernel_w, g->dilation_w, g->in_w), scratch);
          er_qconv_mve(q, scratch, w + group * weights, t->blocks, outputs, group * outputs, y, at + group * outputs);
        }
      }
    }
  }
}
