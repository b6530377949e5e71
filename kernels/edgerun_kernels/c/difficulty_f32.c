/* difficulty_f32: how hard an image is, y[4] = (alpha, edge, variance, laplacian) (DART, arXiv 2603.12269, Eq. 1-8; docs/early-exit.md).
 * Pixels p = x scale + offset, grey g = sum gray p, its border repeated outwards:
 *   edge       share of positions whose Sobel magnitude of g exceeds tau_edge (squares are compared)
 *   variance   mean over channels of the spatial variance of p
 *   laplacian  mean |4 g - up - down - left - right|
 *   alpha      clip(sum weight clip((value - low) / (high - low), 0, 1), 0, 1)
 * A NaN in the image makes variance, laplacian and alpha NaN. Arithmetic in the order of the engine's, so that an edge is one in both; but
 * sums of a row, then of rows, all float32. */
#include "base.h"

typedef struct {
  int32_t channels, height, width;
  int32_t channel_step, pixel_step; /* elements of x from a channel to the next, and from a pixel */
  float tau_squared;
  float low[3], high[3], weights[3];
} er_difficulty;

ER_INLINE float er_unit_range(float v) { return v < 0.0f ? 0.0f : v > 1.0f ? 1.0f : v; }

/* One row of pixels: writes g[-1 .. width], adds to sums[2 c] (of d = p - the image's first pixel) and sums[2 c + 1] (of d d). */
ER_INLINE void er_difficulty_row(const float *x, const float *first, const er_difficulty *f, const float *by_channel, float *sums,
                                 float *g) {
  int32_t c, j;
  for (c = 0; c < f->channels; ++c) {
    const float scale = by_channel[3 * c], offset = by_channel[3 * c + 1], gray = by_channel[3 * c + 2];
    const float *from = x + c * f->channel_step;
    const float base = ER_MADD(first[c * f->channel_step], scale, offset);
    float sum = 0.0f, squares = 0.0f;
    for (j = 0; j < f->width; ++j) {
      const float p = ER_MADD(from[j * f->pixel_step], scale, offset), d = p - base;
      sum += d;
      squares = ER_MADD(d, d, squares);
      g[j] = ER_MADD(p, gray, c > 0 ? g[j] : 0.0f);
    }
    sums[2 * c] += sum;
    sums[2 * c + 1] += squares;
  }
  g[-1] = g[0];
  g[f->width] = g[f->width - 1];
}

/* One row of the stencils: positions with an edge, and the sum of |laplacian| added to *laplacian. */
ER_INLINE int32_t er_difficulty_edges(const float *up, const float *mid, const float *down, int32_t width, float tau_squared,
                                      float *laplacian) {
  float sum = 0.0f;
  int32_t edges = 0, j;
  for (j = 0; j < width; ++j) {
    const float gx = ER_MADD(2.0f, mid[j + 1] - mid[j - 1], (up[j + 1] - up[j - 1]) + (down[j + 1] - down[j - 1]));
    const float gy = ER_MADD(2.0f, down[j] - up[j], (down[j - 1] - up[j - 1]) + (down[j + 1] - up[j + 1]));
    edges += ER_MADD(gx, gx, gy * gy) > tau_squared;
    sum += fabsf(ER_MADD(4.0f, mid[j], -(up[j] + down[j])) - (mid[j - 1] + mid[j + 1]));
  }
  *laplacian += sum;
  return edges;
}

/* by_channel: scale, offset, gray of the first channel, then of the next. work: three rows of width + 2, then two sums a channel. */
static void er_difficulty_f32(const float *x, const er_difficulty *f, const float *by_channel, float *work, float *y) {
  const int32_t pitch = f->width + 2;
  const float count = (float)f->height * (float)f->width;
  float *sums = work + 3 * pitch, variance = 0.0f, laplacian = 0.0f, alpha = 0.0f;
  int32_t edges = 0, i, k;
  for (k = 0; k < 2 * f->channels; ++k) sums[k] = 0.0f;
  for (i = 0; i <= f->height; ++i) { /* the stencils follow a row behind */
    if (i < f->height) er_difficulty_row(x + i * f->width * f->pixel_step, x, f, by_channel, sums, work + i % 3 * pitch + 1);
    if (i > 0) {
      const int32_t up = i > 1 ? i - 2 : 0, down = i < f->height ? i : i - 1;
      edges += er_difficulty_edges(work + up % 3 * pitch + 1, work + (i - 1) % 3 * pitch + 1, work + down % 3 * pitch + 1, f->width,
                                   f->tau_squared, &laplacian);
    }
  }
  for (k = 0; k < f->channels; ++k) {
    const float mean = sums[2 * k] / count, v = sums[2 * k + 1] / count - mean * mean;
    variance += v < 0.0f ? 0.0f : v;
  }
  y[1] = (float)edges / count;
  y[2] = variance / (float)f->channels;
  y[3] = laplacian / count;
  for (k = 0; k < 3; ++k) alpha += f->weights[k] * er_unit_range((y[k + 1] - f->low[k]) / (f->high[k] - f->low[k]));
  y[0] = er_unit_range(alpha);
}
