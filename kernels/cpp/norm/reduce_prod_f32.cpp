// reduce_prod_f32: the product over `axes` (empty: all), taken in f64; of nothing 1.
#include "reduce.h"

EDGERUN_ISA_BEGIN
EDGERUN_REDUCE(reduce_prod_f32, float, f32, ProdF32)
EDGERUN_ISA_END
