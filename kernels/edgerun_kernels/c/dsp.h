/* Words of small integers: two products an instruction where the core has them (Arm's DSP extension), plain C elsewhere; same bits.
 *
 * Sums wrap around: with the zero point folded into the bias an intermediate sum may leave int32, the last one does not. */
#include "base.h"

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
#include <arm_acle.h>
#define ER_DSP 1
#else
#define ER_DSP 0
#endif

ER_INLINE uint32_t er_word(const void *p) { /* one load where these may be unaligned */
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return v;
}
