/* What the checks of a run have found so far: the state that kernels, checks and steps share (docs/codegen.md). */
#include "base.h"

static struct {
  uint32_t now;    /* kinds of checks that the step which runs now violated, bit by bit */
  uint32_t flow;   /* signature of the steps that ran */
  uint32_t passed; /* checks that held */
  uint16_t faults, recomputed;
  int16_t first_step;
  uint8_t first_check;
  uint8_t tries; /* how often the step was computed again */
  uint8_t open;  /* whether a fault is there that computing again did not cure */
  uint8_t worn;  /* whether constants are damaged, which nothing here can cure */
#if ER_ABFT
  uint32_t seen;         /* sum of a product's int32 results, modulo 2^32 */
  float seen_f32, below; /* the same of floats, and what its rounding left */
#endif
#if ER_MAED
  float off; /* 0 as long as identities held; NaN where a value was not finite */
#endif
} er_watch;

/* Where what is known of the caller's constants pays. */
#if defined(__GNUC__)
#define ER_WITHIN static inline __attribute__((always_inline, unused))
#else
#define ER_WITHIN static inline
#endif

/* Makes the compiler take v for an unknown number. */
#if defined(__GNUC__)
#define ER_FORGET(v) __asm__ volatile("" : "+r"(v))
#define ER_FORGET_MEMORY __asm__ volatile("" ::: "memory")
#else
#define ER_FORGET(v) (v) = *(volatile int32_t *)&(v)
#define ER_FORGET_MEMORY (void)0
#endif

#if ER_ABFT
ER_INLINE void er_see(int32_t sum) { er_watch.seen += (uint32_t)sum; }

/* Adds v, and the rounding of that addition apart (Knuth's TwoSum), so that many of them round like one. */
ER_INLINE void er_see_f32(float v) {
  const float before = er_watch.seen_f32, sum = before + v, added = sum - before;
  er_watch.below += (before - (sum - added)) + (v - added);
  er_watch.seen_f32 = sum;
}
#endif

#if ER_MAED
#define ER_EPS 1.1920929e-7f
#define ER_FLOOR 1e-36f /* where products underflow */

/* NaN and infinities make the residual NaN, whatever comes after. */
ER_INLINE void er_finite(float v) { er_watch.off = ER_MADD(v, 0.0f, er_watch.off); }

/* Written so that NaN is a violation. */
ER_INLINE void er_near(float residual, float bound) {
  if (!(fabsf(residual) <= bound)) er_watch.off = 1.0f;
}

ER_INLINE float er_clamp(float v, float most) { return v < -most ? -most : v > most ? most : v; }
#endif

/* Counts a fault of every kind in `kinds`. */
ER_APART void er_found(int32_t step, uint32_t kinds) {
  uint8_t kind;
  for (kind = 1; kind < 32; ++kind) {
    if (!(kinds >> kind & 1u)) continue;
    if (er_watch.faults == 0) {
      er_watch.first_step = (int16_t)step;
      er_watch.first_check = kind;
    }
    if (er_watch.faults < UINT16_MAX) ++er_watch.faults;
  }
}

ER_INLINE void er_flow(uint32_t mark) { er_watch.flow = (er_watch.flow ^ mark) * 16777619u; }

/* Before a run. */
ER_APART void er_start(void) {
  memset(&er_watch, 0, sizeof er_watch);
  er_watch.first_step = -1;
}

/* Before the first step: no trace of steps that were left. */
ER_INLINE void er_begin(void) {
  er_watch.now = 0;
  er_watch.tries = 0;
  er_watch.flow = 2166136261u;
#if ER_ABFT
  er_watch.seen = 0;
  er_watch.seen_f32 = er_watch.below = 0.0f;
#endif
#if ER_MAED
  er_watch.off = 0.0f;
#endif
}

/* Before a step. */
ER_INLINE void er_enter(int32_t step) { er_flow(2u * (uint32_t)step); }

/* After a step and its checks, which are so many: whether it is to be computed again. */
ER_APART int er_again(int32_t step, uint32_t checks) {
  const uint32_t now = er_watch.now;
  er_watch.now = 0;
  if (now) {
    er_found(step, now);
    if (er_watch.tries < ER_TRIES) {
      ++er_watch.tries;
      if (er_watch.recomputed < UINT16_MAX) ++er_watch.recomputed;
      return 1;
    }
    er_watch.open = 1;
  } else {
    er_watch.passed += checks;
  }
  er_watch.tries = 0;
  er_flow(2u * (uint32_t)step + 1u);
  return 0;
}

/* What a step cannot cure by being computed again: operands that were altered, steps left out. */
ER_INLINE void er_judge(int32_t step, uint32_t kind, int holds) {
  if (holds) {
    ++er_watch.passed;
    return;
  }
  er_found(step, 1u << kind);
  er_watch.open = 1;
}

#if ER_MAED
/* Ends the identities of a step. */
ER_INLINE void er_identities(void) {
  if (!(er_watch.off == 0.0f)) er_watch.now |= 1u << ER_CHECK_MAED;
  er_watch.off = 0.0f;
}
#endif
