/* Vectors of Arm's MVE (Helium) by ACLE's intrinsics where the core has them, plain C elsewhere; same bits. */
#include "dsp.h"

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#include <arm_mve.h>
#define ER_MVE 1
#else
#define ER_MVE 0
#endif
