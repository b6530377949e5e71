// clip_f32: y = min(act_beta, max(act_alpha, x)). NaN stays NaN; in place allowed; checked.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
EDGERUN_ACTIVATION(clip, kClip)
EDGERUN_ISA_END
