/* The sigmoid of MAED's published C program (arXiv 2603.18120): operand within +-10, 30 Maclaurin terms, y / (1 - y) = e^x within 1e-6.
 * SPLIT: even and odd terms summed apart, which gives both exponentials. CHECK: verified; returns 1 where that does not hold. */
#include <math.h>
#include <stdint.h>

#define TERMS 30

int f_run(const float *x, float *y) {
  const float v = x[0] < -10.0f ? -10.0f : x[0] > 10.0f ? 10.0f : x[0];
  float term = 1.0f, first = 1.0f;
#if SPLIT || CHECK
  float second = SPLIT ? 0.0f : 1.0f;
#endif
  uint8_t k;
  for (k = 1; k < TERMS; k++) {
    term = term * v / (float)k;
#if SPLIT
    if (k & 1)
      second += term;
    else
      first += term;
#else
    first += (k & 1) ? -term : term;
#if CHECK
    second += term;
#endif
#endif
  }
#if SPLIT
  y[0] = 1.0f / (1.0f + (first - second));
#else
  y[0] = 1.0f / (1.0f + first);
#endif
#if CHECK
  return !(fabsf(y[0] / (1.0f - y[0]) - (SPLIT ? first + second : second)) < 1e-6f);
#else
  return 0;
#endif
}
