/* slice: y [dims] of elements of `size` bytes is x from element `start` on, `steps` elements apart along each of four dimensions. */
#include "move.h"

static void er_slice(const void *x, int32_t size, int32_t start, const int32_t *dims, const int32_t *steps, void *y) {
  uint8_t *to = y;
  int32_t a, b, c, d;
  for (a = 0; a < dims[0]; ++a)
    for (b = 0; b < dims[1]; ++b)
      for (c = 0; c < dims[2]; ++c)
        for (d = 0; d < dims[3]; ++d, to += size)
          er_move(to, (const uint8_t *)x + (start + a * steps[0] + b * steps[1] + c * steps[2] + d * steps[3]) * size, size);
}
