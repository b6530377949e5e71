/* Two operands of elementwise arithmetic: how many elements apart neighbours lie along each dimension of the result, 0 where the
 * operand is repeated. */
#include "base.h"

typedef struct {
  int32_t dims[4], a[4], b[4];
} er_spread;

/* y[...] = expression of the floats p (of a) and q (of b). */
#define ER_SPREAD(expression)                                                                    \
  do {                                                                                           \
    int32_t i_, j_, k_, l_;                                                                      \
    for (i_ = 0; i_ < s->dims[0]; ++i_)                                                          \
      for (j_ = 0; j_ < s->dims[1]; ++j_)                                                        \
        for (k_ = 0; k_ < s->dims[2]; ++k_) {                                                    \
          const float *p_ = a + (i_ * s->a[0] + j_ * s->a[1] + k_ * s->a[2]);                    \
          const float *q_ = b + (i_ * s->b[0] + j_ * s->b[1] + k_ * s->b[2]);                    \
          for (l_ = 0; l_ < s->dims[3]; ++l_, p_ += s->a[3], q_ += s->b[3]) {                    \
            const float p = *p_, q = *q_;                                                        \
            *y++ = (expression);                                                                 \
          }                                                                                      \
        }                                                                                        \
  } while (0)
