// relu_f32: y = x < 0 ? 0 : x. NaN stays NaN; in place allowed; MAED check and fault injection as in activation.h.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
EDGERUN_ACTIVATION(relu, kRelu)
EDGERUN_ISA_END
