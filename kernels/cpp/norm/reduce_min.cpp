// reduce_min: the smallest value over `axes` (empty: all); NaN wins; of nothing +inf or the type's largest.
#include "reduce.h"

EDGERUN_ISA_BEGIN
EDGERUN_REDUCE(reduce_min_f32, float, f32, MinOf<float>)
EDGERUN_REDUCE(reduce_min_i32, int32_t, i32, MinOf<int32_t>)
EDGERUN_REDUCE(reduce_min_i64, int64_t, i64, MinOf<int64_t>)
EDGERUN_ISA_END
