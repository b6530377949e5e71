// tanh_f32: y = tanh x. NaN stays NaN; in place allowed; checked.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
EDGERUN_ACTIVATION(tanh, kTanh)
EDGERUN_ISA_END
