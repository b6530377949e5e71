/* pad with a constant: y [dims] of elements of `size` bytes gets x [sizes] from position `before` on, and *value elsewhere. Four
 * dimensions (the first ones may be 1); before may be negative, which crops. y must not overlap x. */
#include "move.h"

static void er_pad(const void *x, const void *value, int32_t size, const int32_t *dims, const int32_t *sizes, const int32_t *before,
                   void *y) {
  uint8_t *to = y;
  int32_t i[4];
  for (i[0] = 0; i[0] < dims[0]; ++i[0])
    for (i[1] = 0; i[1] < dims[1]; ++i[1])
      for (i[2] = 0; i[2] < dims[2]; ++i[2])
        for (i[3] = 0; i[3] < dims[3]; ++i[3], to += size) {
          int32_t at = 0, inside = 1, k;
          for (k = 0; k < 4; ++k) {
            const int32_t p = i[k] - before[k];
            inside = inside && p >= 0 && p < sizes[k];
            at = at * sizes[k] + p;
          }
          er_move(to, inside ? (const uint8_t *)x + at * size : (const uint8_t *)value, size);
        }
}
