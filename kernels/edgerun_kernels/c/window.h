/* A window that slides over channels-last images: x [batch, in_h, in_w, in_c] to y [batch, out_h, out_w, out_c]. */
#include "base.h"

typedef struct {
  int32_t batch, in_h, in_w, in_c, out_h, out_w, out_c;
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, group;
} er_window;

/* The taps [from, to) of one dimension that lie in the image; `start` is the position of the first tap. */
typedef struct {
  int32_t from, to;
} er_taps;

ER_INLINE er_taps er_inside(int32_t start, int32_t taps, int32_t dilation, int32_t size) {
  er_taps t = {0, taps};
  while (t.from < t.to && start + t.from * dilation < 0) ++t.from;
  while (t.to > t.from && start + (t.to - 1) * dilation >= size) --t.to;
  return t;
}
