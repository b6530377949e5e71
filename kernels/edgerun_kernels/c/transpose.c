/* transpose: y[i0, i1, ...] = x with its dimensions in another order; moves elements of 1, 2, 4 or 8 bytes. y must not overlap x.
 * dims: of y, four of them (the first ones may be 1); steps: how many elements of x apart two neighbours along each of these lie. */
#include "move.h"

static void er_transpose(const void *x, int32_t size, const int32_t *dims, const int32_t *steps, void *y) {
  const uint8_t *from = x;
  uint8_t *to = y;
  int32_t a, b, c, d;
  for (a = 0; a < dims[0]; ++a)
    for (b = 0; b < dims[1]; ++b)
      for (c = 0; c < dims[2]; ++c)
        for (d = 0; d < dims[3]; ++d, to += size)
          er_move(to, from + (a * steps[0] + b * steps[1] + c * steps[2] + d * steps[3]) * size, size);
}
