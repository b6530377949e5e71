/* e^x and e^-x from one evaluation (MAED, arXiv 2603.18120): x = n ln 2 + r, and with E and O of r's even and odd powers e^r = E + O and
 * e^-r = E - O. For cores without a floating-point unit: four bytes of shift and add instead of a second polynomial. */
#include "flash.h"

/* n; even: E - 1, odd: O. |x| <= 87. */
ER_INLINE int16_t er_exp_parts(float x, float *even, float *odd) {
  const int16_t n = (int16_t)(x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f));
  const float r = (x - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f, s = r * r; /* ln 2 in two parts: Cody and Waite */
  *even = s * (0.5f + s * (4.16666418e-2f + s * 1.39356407e-3f));
  *odd = r * (1.0f + s * (1.66665462e-1f + s * 8.36675841e-3f));
  return n;
}

/* v 2^n, both normal and v != 0. In the upper half of a float, which is little endian: shifts of 32 bits are slow on 8-bit cores. */
ER_INLINE float er_scaled(float v, int16_t n) {
  uint16_t upper;
  memcpy(&upper, (uint8_t *)&v + 2, sizeof upper);
  upper = (uint16_t)(upper + (uint16_t)n * 128u);
  memcpy((uint8_t *)&v + 2, &upper, sizeof upper);
  return v;
}

/* Whether a and b of one sign are further than `steps` neighbouring floats apart; infinities and NaN are far from numbers. */
ER_INLINE uint8_t er_apart(float a, float b, int32_t steps) {
  int32_t p, q;
  memcpy(&p, &a, sizeof p);
  memcpy(&q, &b, sizeof q);
  p -= q;
  return p > steps || p < -steps;
}

#define ER_STEPS 32 /* floats within 16 machine epsilons of each other are at most so many apart */
