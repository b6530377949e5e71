// reduce_sum: the sum over `axes` (empty: all); of nothing 0. f32 partial sums are joined in f64; integers wrap.
#include "reduce.h"

EDGERUN_ISA_BEGIN
EDGERUN_REDUCE(reduce_sum_f32, float, f32, SumF32)
EDGERUN_REDUCE(reduce_sum_i32, int32_t, i32, SumInt<int32_t, uint32_t>)
EDGERUN_REDUCE(reduce_sum_i64, int64_t, i64, SumInt<int64_t, uint64_t>)
EDGERUN_ISA_END
