// global_max_pool_f32: the largest value (NaN wins) over all positions of x[N,spatial…,C] → y[N,1…,C].
#include "norm/reduce.h"

EDGERUN_ISA_BEGIN
namespace {
Status resolve(const Request& r, DType dtype, Reduce* p) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  EDGERUN_TRY(sound(r.in[0], dtype));
  EDGERUN_TRY(sound(r.out[0], dtype));
  if (r.in[0].rank < 2) return Status::bad_rank;
  bool axes[kMaxRank] = {};
  for (int32_t k = 1; k + 1 < r.in[0].rank; ++k) axes[k] = true;
  return plan_reduce(r.in[0], r.out[0], axes, p);
}
using Pool = ReduceKernel<MaxOf<float>, float, DType::f32, resolve>;
}  // namespace
extern const Kernel global_max_pool_f32_kernel{"global_max_pool_f32", Pool::query, Pool::prepare, Pool::run};
EDGERUN_ISA_END
