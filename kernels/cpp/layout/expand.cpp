// expand: NumPy broadcasting of x to the shape of y (dimensions aligned at the right). Any dtype by element size.
#include "strided_copy.h"

EDGERUN_ISA_BEGIN
namespace {
Status resolve(const Request& r, size_t bytes, StridedCopy* p) {
  EDGERUN_TRY(one_in_one_out(r, bytes));
  const TensorView &x = r.in[0], &y = r.out[0];
  const int32_t shift = y.rank - x.rank;
  if (shift < 0) return Status::bad_rank;
  int64_t stride[kMaxRank];
  for (int32_t k = 0; k < y.rank; ++k) {
    const int64_t d = k < shift ? 1 : x.dims[k - shift];
    if (d != y.dims[k] && d != 1) return Status::bad_shape;
    stride[k] = d == 1 ? 0 : x.span(k - shift + 1, x.rank);
  }
  plan_strided(p, y.dims, stride, y.rank, 0);
  return Status::ok;
}
}  // namespace
EDGERUN_FOR_SIZES(expand, EDGERUN_STRIDED_KERNEL)
EDGERUN_ISA_END
