// silu_f32: y = x·sigmoid(x). NaN stays NaN; in place allowed; checked.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
EDGERUN_ACTIVATION(silu, kSilu)
EDGERUN_ISA_END
