// transpose: y[i0, i1, …] = x at i, with dimension k of y being dimension perm[k] of x. Any dtype by element size.
#include "strided_copy.h"

EDGERUN_ISA_BEGIN
namespace {
Status resolve(const Request& r, size_t bytes, StridedCopy* p) {
  EDGERUN_TRY(one_in_one_out(r, bytes));
  const TensorView &x = r.in[0], &y = r.out[0];
  int64_t perm[kMaxRank], stride[kMaxRank];
  if (x.rank != y.rank) return Status::bad_rank;
  if (!ints(r, "perm", x.rank, perm)) return Status::bad_attribute;
  bool seen[kMaxRank] = {};
  for (int32_t k = 0; k < x.rank; ++k) {
    if (perm[k] < 0 || perm[k] >= x.rank || seen[perm[k]]) return Status::bad_attribute;
    seen[perm[k]] = true;
    const int32_t from = static_cast<int32_t>(perm[k]);
    if (y.dims[k] != x.dims[from]) return Status::bad_shape;
    stride[k] = x.span(from + 1, x.rank);
  }
  plan_strided(p, y.dims, stride, y.rank, 0);
  return Status::ok;
}
}  // namespace
EDGERUN_FOR_SIZES(transpose, EDGERUN_STRIDED_KERNEL)
EDGERUN_ISA_END
