/* matmul_f32: y = bounds(alpha a @ b + bias), both operands computed at run time; constant weights go the way of conv2d_f32.
 *
 * a [batch][m, k], b [batch][k, n]; steps in elements, 0 where a matrix serves the whole batch; transposed operands by their steps.
 * bias by its steps along rows and columns, or NULL. y [batch, m, n] must not overlap an operand. */
#include "bounds_f32.h"

typedef struct {
  int32_t batch, m, k, n, a_batch, a_row, a_column, b_batch, b_row, b_column, bias_row, bias_column;
} er_matrices;

static void er_matmul_f32(const er_matrices *g, const float *a, const float *b, const float *bias, float alpha, er_bounds bounds,
                          float *y) {
  int32_t t, i, j, k;
  for (t = 0; t < g->batch; ++t) {
    for (i = 0; i < g->m; ++i) {
      for (j = 0; j < g->n; ++j) {
        const float *p = a + (t * g->a_batch + i * g->a_row), *q = b + (t * g->b_batch + j * g->b_column);
        float sum = 0.0f;
        for (k = 0; k < g->k; ++k, p += g->a_column, q += g->b_row) sum = ER_MADD(*p, *q, sum);
        sum *= alpha;
        if (bias) sum += bias[i * g->bias_row + j * g->bias_column];
#if ER_MAED
        er_watch.off = er_off_bounds(er_watch.off, sum, er_bound(sum, &bounds), &bounds, er_form(&bounds));
#endif
        *y++ = er_bound(sum, &bounds);
      }
    }
  }
}
