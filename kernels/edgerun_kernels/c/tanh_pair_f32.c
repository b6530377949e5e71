/* tanh_f32 by exponent sums: with m = e^(-2 |x|) - 1 |y| = -m / (m + 2). y may be x. NaN in, NaN out.
 *
 * ER_VERIFIED: verified by |y| (p + 2) = p with p = e^(2 |x|) - 1 from the other sum of the pair, that is y = -tanh(-x). Returns nonzero
 * where that does not hold, and for NaN. */
#include "exp_pair.h"

ER_KERNEL uint8_t er_tanh_pair_f32(const float *x, uint16_t n, float *y) {
  uint8_t wrong = 0;
  for (; n > 0; --n, ++x, ++y) {
    const float v = *x;
    const float a = fabsf(v) <= 40.0f ? fabsf(v) : 40.0f;
    float even, odd, m, z;
    const int16_t shift = er_exp_parts(-2.0f * a, &even, &odd);
    m = even + odd;
    if (shift) m = er_scaled(1.0f + m, shift) - 1.0f;
    z = fabsf(m) / (m + 2.0f); /* -m would make -0 of 0 */
    if (v != v) z = v;
    *y = v < 0.0f ? -z : z;
#ifdef ER_VERIFIED
    {
      float p = even - odd;
      if (shift) p = er_scaled(1.0f + p, (int16_t)-shift) - 1.0f;
      wrong |= er_apart(z * (p + 2.0f), p, ER_STEPS);
    }
#endif
  }
  return wrong;
}
