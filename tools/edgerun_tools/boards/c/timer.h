/* The counter of a board: 32 bits that count up, read with one or two instructions.
 * Which one, and where, is given on the command line: BOARD_TIMER_CMSDK, BOARD_TIMER_SSE or BOARD_TIMER_NRF, each its base address. */
#ifndef BOARD_TIMER_H
#define BOARD_TIMER_H

#include <stdint.h>

#define BOARD_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#if defined BOARD_TIMER_CMSDK /* Arm CMSDK APB timer (DDI 0479, 3.5): 32 bits, counts down */
static inline void timer_start(void) {
  BOARD_REGISTER(BOARD_TIMER_CMSDK + 8) = 0xffffffffu; /* RELOAD */
  BOARD_REGISTER(BOARD_TIMER_CMSDK + 4) = 0xffffffffu; /* VALUE */
  BOARD_REGISTER(BOARD_TIMER_CMSDK) = 1u;              /* CTRL: enable */
}
static inline uint32_t timer_read(void) { return ~BOARD_REGISTER(BOARD_TIMER_CMSDK + 4); }

#elif defined BOARD_TIMER_SSE /* Arm SSE-300 system counter (101773): control frame; the status frame is BOARD_TIMER_SSE_STATUS */
static inline void timer_start(void) { BOARD_REGISTER(BOARD_TIMER_SSE) = 1u; } /* CNTCR: enable */
static inline uint32_t timer_read(void) { return BOARD_REGISTER(BOARD_TIMER_SSE_STATUS); }

#elif defined BOARD_TIMER_NRF /* Nordic nRF51 TIMER0 (reference manual, 18): 16 MHz, 32 bits */
static inline void timer_start(void) {
  BOARD_REGISTER(BOARD_TIMER_NRF + 0x508) = 3u; /* BITMODE: 32 bits */
  BOARD_REGISTER(BOARD_TIMER_NRF + 0x510) = 0u; /* PRESCALER */
  BOARD_REGISTER(BOARD_TIMER_NRF) = 1u;         /* TASKS_START */
}
static inline uint32_t timer_read(void) {
  BOARD_REGISTER(BOARD_TIMER_NRF + 0x40) = 1u; /* TASKS_CAPTURE[0] */
  return BOARD_REGISTER(BOARD_TIMER_NRF + 0x540);
}
#else
#error "expected the base address of a counter in BOARD_TIMER_CMSDK, BOARD_TIMER_SSE or BOARD_TIMER_NRF"
#endif

#endif
