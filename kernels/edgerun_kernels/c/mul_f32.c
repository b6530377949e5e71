/* mul_f32: y = a b, elementwise, operands broadcast. y may be an operand of its shape. NaN in, NaN out. */
#include "spread.h"

static void er_mul_f32(const er_spread *s, const float *a, const float *b, float *y) { ER_SPREAD(p * q); }
