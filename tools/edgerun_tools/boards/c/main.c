/* The loop of a test image: reads inputs until there are none left, calls the function under test on each, and writes what came out.
 *
 * Results, little endian: int32 magic, self-test, measure of an empty function, polls in CALIBRATION ticks, stack bytes; then for every
 * input the measure, the fields of the report and the outputs. edgerun_tools/boards/results.py reads them. */
#include "harness.h"

#include <string.h>

#define MAGIC 0x31425245 /* "ERB1" */
#define CALIBRATION 4096u

volatile int32_t board_sample = -1;

static int32_t nothing(void) { return 0; }

static void write_head(void) {
  int32_t head[3 + sizeof(board_measure) / 4 + 2];
  board_measure empty = board_run(nothing);
  head[0] = MAGIC;
  head[1] = board_selftest();
  head[2] = board_field_count;
  memcpy(head + 3, &empty, sizeof empty);
  head[7] = (int32_t)board_polls(CALIBRATION);
  head[8] = (int32_t)board_stack_bytes();
  board_write(head, sizeof head);
}

static int read_inputs(void) {
  for (uint8_t i = 0; i < board_input_count; i++) {
    if (!board_read(board_inputs[i].data, board_inputs[i].bytes)) return 0;
  }
  return 1;
}

int main(void) {
  board_start();
  write_head();
  while (read_inputs()) {
    /* An output that an early exit leaves alone is zero, whatever ran before. */
    for (uint8_t i = 0; i < board_output_count; i++) memset(board_outputs[i].data, 0, board_outputs[i].bytes);
    board_sample++;
    board_measure measure = board_run(board_call);
    int32_t fields[BOARD_MOST_FIELDS];
    board_fields(fields);
    board_write(&measure, sizeof measure);
    board_write(fields, (uint32_t)board_field_count * 4u);
    for (uint8_t i = 0; i < board_output_count; i++) board_write(board_outputs[i].data, board_outputs[i].bytes);
  }
  board_exit(0);
  return 0;
}
