/* Platform of an AVR in simavr: files and cycles from the simulator (avr_mail.h, avr_simulator.c), the stack's high-water mark. */
#include "avr_mail.h"
#include "harness.h"

#include <avr/io.h>

#define PAINT 0xc5

extern uint8_t __heap_start; /* the end of .bss: the stack may grow down to here */
static volatile board_letter letter;

static inline void mail(uint8_t operation) {
  GPIOR1 = (uint8_t)(uintptr_t)&letter;
  GPIOR2 = (uint8_t)((uintptr_t)&letter >> 8);
  GPIOR0 = operation;
}

void board_start(void) {}

int board_read(void *data, uint32_t bytes) {
  letter.data = (uint16_t)(uintptr_t)data;
  letter.bytes = (uint16_t)bytes;
  mail(MAIL_READ);
  return letter.result == 1;
}

void board_write(const void *data, uint32_t bytes) {
  letter.data = (uint16_t)(uintptr_t)data;
  letter.bytes = (uint16_t)bytes;
  mail(MAIL_WRITE);
}

uint32_t board_polls(uint32_t ticks) {
  (void)ticks;
  return 0;
}

uint32_t board_stack_bytes(void) { return (uint32_t)(RAMEND + 1 - (uintptr_t)&__heap_start); }

__attribute__((noinline)) board_measure board_run(int32_t (*function)(void)) {
  board_measure found;
  uint8_t *here = (uint8_t *)SP; /* the first free byte: what is called writes there and below */
  for (uint8_t *p = &__heap_start; p <= here; p++) *(volatile uint8_t *)p = PAINT;
  mail(MAIL_BEGIN);
  found.status = function();
  mail(MAIL_END);
  found.ticks = letter.result;
  found.polls = 0;
  const volatile uint8_t *p = &__heap_start;
  while (p <= here && *p == PAINT) p++;
  found.stack = (uint32_t)(here + 1 - (const uint8_t *)p);
  return found;
}

void board_exit(int code) {
  letter.bytes = (uint16_t)code;
  mail(MAIL_EXIT);
  for (;;) {}
}
