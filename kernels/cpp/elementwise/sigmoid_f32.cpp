// sigmoid_f32: y = 1 / (1 + e^−x). NaN stays NaN; in place allowed; checked.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
EDGERUN_ACTIVATION(sigmoid, kSigmoid)
EDGERUN_ISA_END
