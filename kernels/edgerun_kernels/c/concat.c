/* concat: one operand's rows into those of the result. x [outer, bytes], y [outer, pitch bytes] from byte `at` of each row on. */
#include "base.h"

static void er_concat(const void *x, int32_t outer, int32_t bytes, int32_t pitch, int32_t at, void *y) {
  int32_t o;
  for (o = 0; o < outer; ++o) memcpy((uint8_t *)y + (o * pitch + at), (const uint8_t *)x + o * bytes, (size_t)bytes);
}
