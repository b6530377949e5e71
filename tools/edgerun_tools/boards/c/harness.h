/* What the three parts of a test image know of each other: case.c (made from firmware.json: the function under test and its buffers),
 * main.c (the loop over inputs) and a platform (a board's start, files, counter and stack). */
#ifndef BOARD_HARNESS_H
#define BOARD_HARNESS_H

#include <stdint.h>

/* case.c */
typedef struct {
  void *data;
  uint32_t bytes;
} board_buffer;

extern const uint8_t board_input_count, board_output_count, board_field_count;
extern const board_buffer board_inputs[], board_outputs[];
int32_t board_call(void);             /* one run, on the buffers; what the function returned, or 0 */
int32_t board_selftest(void);         /* what the self-test returned; BOARD_NO_SELFTEST without one */
void board_fields(int32_t *fields);   /* the report of the last run, one number a field */
#define BOARD_NO_SELFTEST INT32_MIN
#define BOARD_MOST_FIELDS 16

/* One measured call. The counter's value is waited for until it changes, before and after, so that what is between is known to a
 * turn of the waiting loop: instructions = ticks * (instructions per tick) - polls * (instructions per turn). */
typedef struct {
  int32_t status; /* what the function returned */
  uint32_t ticks; /* from one change of the counter to another */
  uint32_t polls; /* turns of the waiting loop after the call */
  uint32_t stack; /* bytes of stack that were written below the caller's */
} board_measure;

/* platform */
void board_start(void);                               /* opens the files, starts the counter */
int board_read(void *data, uint32_t bytes);           /* from in.bin; 0 at its end */
void board_write(const void *data, uint32_t bytes);   /* to the file of results */
board_measure board_run(int32_t (*function)(void));   /* calls it once, with the stack painted before */
uint32_t board_polls(uint32_t ticks);                 /* turns of the waiting loop in so many ticks; 0 where the counter is exact */
uint32_t board_stack_bytes(void);                     /* the most that board_measure.stack can be */
void board_exit(int code);

/* The run that goes on or comes next, from 0; -1 before the first. For the reports of faults, and for debuggers. */
extern volatile int32_t board_sample;

#endif
