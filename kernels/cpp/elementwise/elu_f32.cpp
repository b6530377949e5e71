// elu_f32: y = x < 0 ? act_alpha·(e^x − 1) : x. NaN stays NaN; in place allowed; checked.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
EDGERUN_ACTIVATION(elu, kElu)
EDGERUN_ISA_END
