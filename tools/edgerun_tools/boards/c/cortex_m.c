/* Start of a Cortex-M, and what becomes of exceptions: they are written to fault.bin, and the emulator ends. */
#include "semihosting.h"
#include "timer.h"

#include <string.h>

extern uint32_t board_data_from[], board_data_start[], board_data_end[], board_bss_start[], board_bss_end[];
extern uint32_t board_stack_low[], board_stack_top[];
#define GUARD 27u /* 2^27 bytes below the stack */
int main(void);
void board_reset(void);
void board_exception(void); /* also where board_alarm goes */
void board_fault(const uint32_t *high, uint32_t exc_return, const uint32_t *frame);
void board_alarm(void);

/* First on the stack, then Reset, NMI, the faults, SVCall …; 15 is SysTick. Interrupts of the boards' devices are never enabled. */
__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = {
    (void (*)(void))board_stack_top, board_reset,     board_exception, board_exception, board_exception, board_exception,
    board_exception,                 board_exception, board_exception, board_exception, board_exception, board_exception,
    board_exception,                 board_exception, board_exception, board_alarm,
};

#if __ARM_ARCH < 8
/* The stack's end is the beginning of RAM; QEMU's MPS2 lets writes below it go nowhere. The MPU, where there is one, forbids them. */
static void guard_stack(void) {
  if (BOARD_REGISTER(0xe000ed90) == 0) return;                                        /* MPU_TYPE */
  BOARD_REGISTER(0xe000ed98) = 0;                                                     /* MPU_RNR */
  BOARD_REGISTER(0xe000ed9c) = (uint32_t)(uintptr_t)board_stack_low - (1u << GUARD); /* MPU_RBAR */
  BOARD_REGISTER(0xe000eda0) = 1u << 28 | (GUARD - 1u) << 1 | 1u;                     /* MPU_RASR: no access, not executable */
  BOARD_REGISTER(0xe000ed94) = 5;                                                     /* MPU_CTRL: the default map for all else */
}
#endif

void board_reset(void) {
#if defined __ARM_FP || defined __ARM_FEATURE_MVE
  BOARD_REGISTER(0xe000ed88) |= 0xfu << 20; /* CPACR: full access to CP10 and CP11, which is the FPU and MVE */
  __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
#if __ARM_ARCH >= 8
  __asm__ volatile("msr msplim, %0" ::"r"(board_stack_low));
#else
  guard_stack();
#endif
  memcpy(board_data_start, board_data_from, (size_t)((char *)board_data_end - (char *)board_data_start));
  memset(board_bss_start, 0, (size_t)((char *)board_bss_end - (char *)board_bss_start));
  main();
  for (;;) {}
}

/* The stack may be what broke: another one is used from here. */
__attribute__((used)) static uint32_t fault_stack[256];

__attribute__((naked)) void board_exception(void) {
  __asm__ volatile("mov r2, sp\n\t"
                   "mov r1, lr\n\t"
                   "ldr r3, =fault_stack+1024\n\t"
                   "mov sp, r3\n\t"
                   "push {r4-r7}\n\t"
                   "mov r4, r8\n\tmov r5, r9\n\tmov r6, r10\n\tmov r7, r11\n\t"
                   "push {r4-r7}\n\t"
                   "mov r0, sp\n\t"
                   "b board_fault\n\t"
                   ".ltorg");
}

/* high: r8-r11, r4-r7; frame: r0-r3, r12, lr, pc, xpsr as the exception stacked them. Layout of fault.bin: results.py, FAULT. */
void board_fault(const uint32_t *high, uint32_t exc_return, const uint32_t *frame) {
  uint32_t record[24] = {0}, exception;
  __asm__ volatile("mrs %0, ipsr" : "=r"(exception));
  record[0] = exception;
  record[1] = (uint32_t)board_sample;
  record[2] = (uint32_t)(uintptr_t)frame;
  record[3] = exc_return;
#if __ARM_ARCH >= 7
  record[4] = BOARD_REGISTER(0xe000ed28); /* CFSR */
  record[5] = BOARD_REGISTER(0xe000ed2c); /* HFSR */
  record[6] = BOARD_REGISTER(0xe000ed34); /* MMFAR */
  record[7] = BOARD_REGISTER(0xe000ed38); /* BFAR */
#endif
  if (frame >= board_stack_low && frame + 8 <= board_stack_top) memcpy(record + 8, frame, 32);
  memcpy(record + 16, high + 4, 16);
  memcpy(record + 20, high, 16);
  int32_t file = semihosting_open("fault.bin", SEMIHOSTING_WRITE);
  if (file >= 0) semihosting_write(file, record, sizeof record);
  board_exit(exception == 15 ? 4 : 3); /* 15: SysTick, the limit of a call */
}
