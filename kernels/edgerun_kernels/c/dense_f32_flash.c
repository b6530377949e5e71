/* matmul_f32 with weights in program memory: y [rows, outputs] of x [rows, inputs]. w: for every output its bias, then the weights. */
#include "flash.h"

static void er_dense_f32(const float *x, uint16_t rows, uint16_t inputs, uint16_t outputs, const float *w, float *y) {
  for (; rows > 0; --rows, x += inputs) {
    const float *from = w;
    uint16_t o, k;
    for (o = 0; o < outputs; ++o) {
      float sum = ER_READ_FLOAT(from++);
      for (k = 0; k < inputs; ++k) sum = ER_MADD(x[k], ER_READ_FLOAT(from++), sum);
      *y++ = sum;
    }
  }
}
