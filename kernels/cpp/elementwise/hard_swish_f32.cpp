// hard_swish_f32: y = x·clip(x/6 + 0.5, 0, 1). NaN stays NaN; in place allowed; checked.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
EDGERUN_ACTIVATION(hard_swish, kHardSwish)
EDGERUN_ISA_END
