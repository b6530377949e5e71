// leaky_relu_f32: y = x < 0 ? act_alpha·x : x. NaN stays NaN; in place allowed; checked.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
EDGERUN_ACTIVATION(leaky_relu, kLeakyRelu)
EDGERUN_ISA_END
