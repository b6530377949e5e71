// slice: y[i] = x[starts + i·steps], one start and one non-zero step (may be negative) for every dimension; the sizes
// are the output's. Any dtype by element size.
#include "strided_copy.h"

EDGERUN_ISA_BEGIN
namespace {
Status resolve(const Request& r, size_t bytes, StridedCopy* p) {
  EDGERUN_TRY(one_in_one_out(r, bytes));
  const TensorView &x = r.in[0], &y = r.out[0];
  int64_t starts[kMaxRank], steps[kMaxRank], stride[kMaxRank], base = 0;
  if (x.rank != y.rank) return Status::bad_rank;
  if (!ints(r, "starts", x.rank, starts) || !ints(r, "steps", x.rank, steps)) return Status::bad_attribute;
  for (int32_t k = 0; k < x.rank; ++k) {
    const int64_t d = x.dims[k], n = y.dims[k];
    stride[k] = 0;
    if (n == 0) continue;
    if (starts[k] < 0 || starts[k] >= d) return Status::bad_attribute;
    if (n > 1) {
      int64_t reach;
      if (steps[k] == 0) return Status::bad_attribute;
      if (__builtin_mul_overflow(n - 1, steps[k], &reach) || __builtin_add_overflow(reach, starts[k], &reach))
        return Status::bad_shape;
      if (reach < 0 || reach >= d) return Status::bad_shape;
      stride[k] = steps[k] * x.span(k + 1, x.rank);
    }
    base += starts[k] * x.span(k + 1, x.rank);
  }
  plan_strided(p, y.dims, stride, y.rank, base);
  return Status::ok;
}
}  // namespace
EDGERUN_FOR_SIZES(slice, EDGERUN_STRIDED_KERNEL)
EDGERUN_ISA_END
