/* Arm's DSP intrinsics in plain C (ACLE 2.4, section "32-bit SIMD intrinsics"), so that kernels which use them can be tested anywhere. */
#include <stdint.h>

typedef int32_t int16x2_t;
typedef int32_t int8x4_t;

static inline int32_t half_(int32_t v, int k) { return (int16_t)(uint16_t)((uint32_t)v >> (16 * k)); }
static inline int32_t byte_(int32_t v, int k) { return (int8_t)(uint8_t)((uint32_t)v >> (8 * k)); }
static inline int32_t pair_(int32_t low, int32_t high) { return (int32_t)(((uint32_t)low & 0xffffu) | (uint32_t)high << 16); }
static inline int32_t sum_(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

#define __sxtb16(a) pair_(byte_((a), 0), byte_((a), 2))
#define __sxtab16(a, b) pair_(half_((a), 0) + byte_((b), 0), half_((a), 1) + byte_((b), 2))
#define __smlad(a, b, s) sum_(sum_((s), half_((a), 0) * half_((b), 0)), half_((a), 1) * half_((b), 1))
#define __smlabb(a, b, s) sum_((s), half_((a), 0) * half_((b), 0))
#define __smlatt(a, b, s) sum_((s), half_((a), 1) * half_((b), 1))
