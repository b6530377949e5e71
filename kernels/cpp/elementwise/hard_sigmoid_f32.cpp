// hard_sigmoid_f32: y = clip(act_alpha·x + act_beta, 0, 1). NaN stays NaN; in place allowed; checked.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
EDGERUN_ACTIVATION(hard_sigmoid, kHardSigmoid)
EDGERUN_ISA_END
