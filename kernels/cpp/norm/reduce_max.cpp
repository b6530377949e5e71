// reduce_max: the largest value over `axes` (empty: all); NaN wins; of nothing −inf or the type's smallest.
#include "reduce.h"

EDGERUN_ISA_BEGIN
EDGERUN_REDUCE(reduce_max_f32, float, f32, MaxOf<float>)
EDGERUN_REDUCE(reduce_max_i32, int32_t, i32, MaxOf<int32_t>)
EDGERUN_REDUCE(reduce_max_i64, int64_t, i64, MaxOf<int64_t>)
EDGERUN_ISA_END
