/* batch_norm_f32: y = x scale + shift, of every channel (the last dimension). y may be x. */
#include "base.h"
#if ER_MAED
#include "watch.h"
#endif

static void er_batch_norm_f32(const float *x, const float *scale, const float *shift, int32_t rows, int32_t channels, float *y) {
  int32_t r, c;
  for (r = 0; r < rows; ++r)
    for (c = 0; c < channels; ++c, ++x, ++y) *y = ER_MADD(*x, scale[c], shift[c]);
#if ER_MAED
  for (r = rows * channels; r > 0; --r) er_finite(*--y);
#endif
}
