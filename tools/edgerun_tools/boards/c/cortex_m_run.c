/* Platform of every emulated Cortex-M: files by semihosting, one call counted by the board's counter, the stack's high-water mark. */
#include "semihosting.h"
#include "timer.h"

#define PAINT 0x5eed5eedu
#define SYST_CSR 0xe000e010u
#define SYST_RVR 0xe000e014u
#define SYST_CVR 0xe000e018u

extern uint32_t board_stack_low[], board_stack_top[];
static int32_t inputs, results;

/* A debugger may write here, at board_run_begin: after so many ticks of SysTick it meets board_alarm_hit, in the middle of the run. */
volatile uint32_t board_alarm_ticks = 0;
/* A call that takes more ticks is ended, as an exception is; 0: none is. The first word of in.bin. */
volatile uint32_t board_limit_ticks = 0;
void board_alarm(void);
void board_run_begin(void);
void board_run_end(void);

/* SysTick in so many of the core's ticks; 0: not at all. */
static inline void alarm_in(uint32_t ticks) {
  BOARD_REGISTER(SYST_RVR) = ticks;
  BOARD_REGISTER(SYST_CVR) = 0;
  BOARD_REGISTER(SYST_CSR) = ticks != 0 ? 7 : 0; /* the core's clock, interrupt, enable */
}

/* SysTick's handler: after an alarm it arms the limit and returns; else this was the limit. r0 to r3 are on the stack. */
__attribute__((naked)) void board_alarm(void) {
  __asm__ volatile(".syntax unified\n\t"
                   "ldr r0, =board_alarm_ticks\n\t"
                   "ldr r1, [r0]\n\t"
                   "cmp r1, #0\n\t"
                   "bne 1f\n\t"
                   "ldr r2, =board_exception\n\t"
                   "bx r2\n"
                   "1:\tmovs r1, #0\n\t"
                   "str r1, [r0]\n\t"
                   "ldr r0, =0xe000e010\n\t"
                   "str r1, [r0]\n\t"
                   "ldr r1, =board_limit_ticks\n\t"
                   "ldr r1, [r1]\n\t"
                   "cmp r1, #0\n\t"
                   "beq board_alarm_hit\n\t"
                   "str r1, [r0, #4]\n\t"
                   "str r1, [r0, #8]\n\t"
                   "movs r1, #7\n\t"
                   "str r1, [r0]\n\t"
                   ".global board_alarm_hit\n"
                   "board_alarm_hit:\n\t" /* one more instruction, and every register is the interrupted function's */
                   "bx lr\n\t"
                   ".ltorg");
}

__attribute__((noinline)) void board_run_begin(void) { __asm__ volatile("nop"); }
__attribute__((noinline)) void board_run_end(void) { __asm__ volatile("nop"); }

void board_start(void) {
  inputs = semihosting_open("in.bin", SEMIHOSTING_READ);
  results = semihosting_open("out.bin", SEMIHOSTING_WRITE);
  if (inputs < 0 || results < 0) board_exit(2);
  uint32_t limit = 0;
  if (!board_read(&limit, sizeof limit)) board_exit(2);
  board_limit_ticks = limit;
  timer_start();
}

int board_read(void *data, uint32_t bytes) { return semihosting_read(inputs, data, bytes) == 0; }

void board_write(const void *data, uint32_t bytes) {
  if (semihosting_write(results, data, bytes) != 0) board_exit(2);
}

uint32_t board_stack_bytes(void) { return (uint32_t)((char *)board_stack_top - (char *)board_stack_low); }

/* Until the counter has gone on by so many ticks: its value then, and the turns of the loop, which takes the same instructions a turn
 * whatever it is asked for. */
__attribute__((noinline)) static uint32_t wait_for_ticks(uint32_t ticks, uint32_t *polls) {
  const uint32_t before = timer_read();
  uint32_t now, turns = 0;
  do {
    now = timer_read();
    turns++;
  } while (now - before < ticks);
  *polls = turns;
  return now;
}

uint32_t board_polls(uint32_t ticks) {
  uint32_t polls;
  wait_for_ticks(1, &polls);
  wait_for_ticks(ticks, &polls);
  return polls;
}

__attribute__((noinline)) board_measure board_run(int32_t (*function)(void)) {
  board_measure found;
  uint32_t *here; /* the end of this function's frame: what is called writes below */
  uint32_t ignored, start;
  __asm__ volatile("mov %0, sp" : "=r"(here));
  board_run_begin();
  for (uint32_t *p = board_stack_low; p < here; p++) *(volatile uint32_t *)p = PAINT;
  start = wait_for_ticks(1, &ignored);
  alarm_in(board_alarm_ticks != 0 ? board_alarm_ticks : board_limit_ticks);
  found.status = function();
  found.ticks = wait_for_ticks(1, &found.polls) - start;
  alarm_in(0);
  board_alarm_ticks = 0;
  const volatile uint32_t *p = board_stack_low;
  while (p < here && *p == PAINT) p++;
  found.stack = (uint32_t)((char *)here - (const char *)p);
  board_run_end();
  return found;
}

void board_exit(int code) {
  const uint32_t block[2] = {0x20026u, (uint32_t)code}; /* ADP_Stopped_ApplicationExit */
  semihosting(0x20, block);                             /* SYS_EXIT_EXTENDED */
  for (;;) {}
}
