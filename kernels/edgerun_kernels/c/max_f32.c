/* max_f32: y = the larger of a and b, elementwise, operands broadcast. y may be an operand of its shape. NaN in, NaN out. */
#include "spread.h"

static void er_max_f32(const er_spread *s, const float *a, const float *b, float *y) { ER_SPREAD(p >= q || p != p ? p : q); }
