/* sigmoid_f32 by exponent sums: with e = e^-|x| y = 1 / (1 + e), or e / (1 + e) below 0. y may be x. NaN in, NaN out.
 *
 * ER_VERIFIED: verified by y (1 + e^|x|) = e^|x|, or = 1 below 0, where e^|x| is the other sum of the pair. Returns nonzero where that
 * does not hold, and for NaN. */
#include "exp_pair.h"

ER_KERNEL uint8_t er_sigmoid_pair_f32(const float *x, uint16_t n, float *y) {
  uint8_t wrong = 0;
  for (; n > 0; --n, ++x, ++y) {
    const float v = *x;
    const float a = fabsf(v) <= 87.0f ? fabsf(v) : 87.0f;
    float even, odd, e, z;
    const int16_t shift = er_exp_parts(-a, &even, &odd);
    e = er_scaled(1.0f + (even + odd), shift);
    z = 1.0f / (1.0f + e);
    if (v < 0.0f) z *= e;
    if (v != v) z = v;
    *y = z;
#ifdef ER_VERIFIED
    {
      const float f = er_scaled(1.0f + (even - odd), (int16_t)-shift);
      wrong |= er_apart(z * (1.0f + f), v < 0.0f ? 1.0f : f, ER_STEPS);
    }
#endif
  }
  return wrong;
}
