/* What every kernel stands on: integers of fixed size, and one multiply-add. No heap, no other library. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "built with fast-math, which removes tests for NaN: build without"
#endif

/* a * b + c, rounded once where the core has the instruction; a call of fmaf where it has not would cost hundreds. */
#if defined(__ARM_FEATURE_FMA) || defined(__FMA__) || defined(__riscv_flen)
#define ER_MADD(a, b, c) fmaf((a), (b), (c))
#else
#define ER_MADD(a, b, c) ((a) * (b) + (c))
#endif

/* Helpers that some programs need and others do not; inner loops whose registers nothing around them should take. */
#if defined(__GNUC__)
#define ER_INLINE static inline __attribute__((unused))
#define ER_KERNEL static __attribute__((noinline)) /* gcc may copy it for a layer's sizes, where that pays */
#if defined(__clang__)
#define ER_APART static __attribute__((noinline))
#else
#define ER_APART static __attribute__((noinline, noclone)) /* else gcc copies it for every step that it serves */
#endif
#else
#define ER_INLINE static inline
#define ER_KERNEL static
#define ER_APART static
#endif
