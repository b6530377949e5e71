// gelu_f32: y = x·Φ(x), by erf, or by its tanh approximation where the attribute tanh is 1. In place allowed; checked
// to be finite.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
EDGERUN_ACTIVATION(gelu, kGelu)
EDGERUN_ISA_END
