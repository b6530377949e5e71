// reduce_mean_f32: the mean over `axes` (empty: all); of nothing NaN. Partial sums are joined in f64.
#include "reduce.h"

EDGERUN_ISA_BEGIN
EDGERUN_REDUCE(reduce_mean_f32, float, f32, MeanF32)
EDGERUN_ISA_END
