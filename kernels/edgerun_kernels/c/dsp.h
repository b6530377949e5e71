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

/* Two neighbouring int16 in a register, or where they lie; the sum of both products with two others is added to s. */
#if ER_DSP
#define ER_PAIR(name, p) const uint32_t name = er_word(p)
#define ER_DOT_PAIR(s, x, w) s = __smlad((int16x2_t)(x), (int16x2_t)(w), s)
#else
#define ER_PAIR(name, p) const int16_t *const name = (p)
#define ER_DOT_PAIR(s, x, w) s = (int32_t)((uint32_t)(s) + (uint32_t)((x)[0] * (w)[0]) + (uint32_t)((x)[1] * (w)[1]))
#endif
