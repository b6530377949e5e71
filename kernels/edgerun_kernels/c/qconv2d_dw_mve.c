/* qconv2d_dw_{i8,u8} of windows of at most 16 taps for cores with MVE; what it computes: qconv2d_dw.c.
 *
 * The rows of one window are copied as int8 to scratch, for eight channels at a time: a strip for each, [column][kernel_h], in which a window
 * lies side by side; one vector multiplies it. w: [out_c][16], the window column by column, filled up with zeros. y must not overlap x. */
#include "tile_mve.h"
#include "window.h"

/* How many columns of a strip lie in the image (behind pad_left others); bytes from strip to strip, at most 2^13; scratch has 15 bytes and three
 * windows' steps more than eight of them. */
typedef struct {
  int32_t inside, length;
} er_bands;

/* Row h of the image into n strips. x: the first channel's elements in the image; to: the row's place. What lies beside the image is there
 * already. */
ER_APART void er_bands_row(const er_window *g, const er_bands *t, const er_quant *q, const uint8_t *x, int32_t h, int32_t n, int8_t *to) {
  const int32_t length = t->length, pitch = g->kernel_h, c = g->in_c;
  int32_t j, k;
  to += g->pad_left * pitch;
  if (h < 0 || h >= g->in_h) {
    for (k = 0; k < n; ++k, to += length)
      for (j = 0; j < t->inside; ++j) to[j * pitch] = (int8_t)q->x_zero;
    return;
  }
  x += h * g->in_w * c;
#if ER_MVE
  if (n == 8) {
    const uint16x8_t places = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)length);
    const uint16x8_t flip = vdupq_n_u16((uint16_t)(q->x_flip & 0x80u));
    for (j = t->inside; j > 0; --j, x += c, to += pitch)
      vstrbq_scatter_offset_u16((uint8_t *)to, places, veorq_u16(vldrbq_u16(x), flip));
    return;
  }
#endif
  for (k = 0; k < n; ++k, ++x, to += length)
    for (j = 0; j < t->inside; ++j) to[j * pitch] = (int8_t)(x[j * c] ^ (uint8_t)q->x_flip);
}

/* n outputs from c on of a row of pixels, of `bands` that lie `length` bytes apart. y: of the first output and pixel, bytes. plain: q->plain,
 * known where this is compiled; q->factor is there. */
#if ER_MVE
ER_INLINE void er_bands_as(const er_window *g, const er_quant *q, const int8_t *bands, int32_t length, const int8_t *w, int32_t c, int32_t n,
                           int8_t *restrict y, int32_t plain) {
  const int32_t step = g->stride_w * g->kernel_h, pitch = g->out_c, pixels = g->out_w, zero = q->y_zero;
  const int32_t *bias = q->bias + c, *factor = q->factor + c;
  const uint32x4_t places = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)pitch);
  const int32x4_t low = vdupq_n_s32(-128), high = vdupq_n_s32(127);
  int32_t k;
  for (k = 0; k < n; ++k, bands += length, w += 16, ++y) {
    const int8x16_t weights = vldrbq_s8(w);
    const int32x4_t f = vdupq_n_s32(factor[k]), left = vdupq_n_s32(plain || !q->left ? 0 : q->left[c + k]);
    const int32_t b = bias[k];
    const int8_t *x = bands;
    int8_t *to = y;
    int32_t there;
    for (there = pixels; there > 0; there -= 4, x += 4 * step, to += 4 * pitch) { /* sums of pixels that are not there are not stored */
      int32_t s[4];
      int32x4_t v;
      s[0] = vmladavq_s8(weights, vldrbq_s8(x));
      s[1] = vmladavq_s8(weights, vldrbq_s8(x + step));
      s[2] = vmladavq_s8(weights, vldrbq_s8(x + 2 * step));
      s[3] = vmladavq_s8(weights, vldrbq_s8(x + 3 * step));
      v = vaddq_n_s32(vldrwq_s32(s), b);
      er_see_mve(v, there);
      v = plain ? er_bytes_mve(v, f, zero, low, high) : er_narrow_mve(q, v, f, left);
      if (there >= 4)
        vstrbq_scatter_offset_s32(to, places, v);
      else
        vstrbq_scatter_offset_p_s32(to, places, v, vctp32q((uint32_t)there));
    }
  }
}
#endif

ER_APART void er_bands_plain(const er_window *g, const er_quant *q, const int8_t *bands, int32_t length, const int8_t *w, int32_t c,
                             int32_t n, void *restrict y, int32_t at) {
#if ER_MVE
  er_bands_as(g, q, bands, length, w, c, n, (int8_t *)y + at, 1);
#else
  int32_t pixel, k, i;
  for (k = 0; k < n; ++k, bands += length, w += 16) {
    for (pixel = 0; pixel < g->out_w; ++pixel) {
      const int8_t *const x = bands + pixel * g->stride_w * g->kernel_h;
      int32_t s = q->bias[c + k];
      for (i = 0; i < 16; ++i) s += x[i] * w[i];
      er_store_sum(q, s, c + k, y, at + pixel * g->out_c + k);
    }
  }
#endif
}

ER_APART void er_bands_any(const er_window *g, const er_quant *q, const int8_t *bands, int32_t length, const int8_t *w, int32_t c, int32_t n,
                       void *restrict y, int32_t at) {
#if ER_MVE
  if (q->factor) {
    er_bands_as(g, q, bands, length, w, c, n, (int8_t *)y + at, 0);
  } else {
    int32_t pixel, k;
    for (k = 0; k < n; ++k, bands += length, w += 16)
      for (pixel = 0; pixel < g->out_w; ++pixel)
        er_store_sum(q, vmladavaq_s8(q->bias[c + k], vldrbq_s8(w), vldrbq_s8(bands + pixel * g->stride_w * g->kernel_h)), c + k, y,
                     at + pixel * g->out_c + k);
  }
#else
  er_bands_plain(g, q, bands, length, w, c, n, y, at);
#endif
}

static void er_qconv2d_dw_mve(const er_window *g, const er_bands *t, const er_quant *q, const uint8_t *x, const int8_t *w, int8_t *bands,
                              void *y) {
  const int32_t m = g->out_c / g->in_c;
  int32_t image, h, c, i, o;
  for (i = 0; i < 8 * t->length; ++i) bands[i] = (int8_t)q->x_zero;
  for (image = 0; image < g->batch; ++image, x += g->in_h * g->in_w * g->in_c) {
    for (h = 0; h < g->out_h; ++h) {
      const int32_t at = (image * g->out_h + h) * g->out_w * g->out_c;
      for (c = 0; c < g->in_c; c += 8) {
        const int32_t n = g->in_c - c < 8 ? g->in_c - c : 8;
        for (i = 0; i < g->kernel_h; ++i)
          er_bands_row(g, t, q, x + c, h * g->stride_h - g->pad_top + i * g->dilation_h, n, bands + i);
        if (m > 1)
          for (o = c * m; o < (c + n) * m; ++o) er_bands_any(g, q, bands + (o / m - c) * t->length, 0, w + 16 * o, o, 1, y, at + o);
        else if (q->plain)
          er_bands_plain(g, q, bands, t->length, w + 16 * c, c, n, y, at + c);
        else
          er_bands_any(g, q, bands, t->length, w + 16 * c, c, n, y, at + c);
      }
    }
  }
}
