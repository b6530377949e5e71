/* A simulator of one AVR on libsimavr (GPL-3; this program is compiled by its user and linked there): runs an image, serves its letters
 * (avr_mail.h) from in.bin and to out.bin, counts cycles, and inflicts faults. The stock program `simavr` has no way in for data but a
 * UART, which would add its own code and cycles to the image.
 *
 *   avr_simulator IMAGE MCU CYCLES_PER_CALL        0: no limit
 *
 * faults.txt, if there: lines "sample cycle arrival space address keep flip stays", sorted. space d: data space (registers from 0, I/O, RAM),
 * f: flash: a byte v becomes (v & keep) ^ flip, in flash what it was after the call unless `stays` is 1; p: the next instruction is skipped.
 * When: `cycle` cycles after the sample's call begins; or, where `arrival` is not 0, as the core comes to the instruction at address
 * `cycle` for that time in the call. What struck goes to hits.txt: "line program-counter before after".
 * Prints at the end what happened: "ok 0", "crash PC", "restart PC", "timeout PC", "sleep PC", "exit CODE". */
#include <inttypes.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <simavr/sim_io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avr_mail.h"

#define GPIOR0 0x3e
#define GPIOR1 0x4a
#define GPIOR2 0x4b

typedef struct {
  int64_t sample;
  uint64_t cycle;
  uint32_t arrival, arrivals, address;
  uint8_t keep, flip, stays, was, struck;
  char space;
} fault;

static FILE *inputs, *results, *hits;
static fault *faults;
static size_t fault_count, next_fault, first_of_call, end_of_call; /* arrivals come first among a call's faults */
static size_t last_arrival;
static int64_t sample = -2; /* the first call is the harness's own, of an empty function */
static avr_cycle_count_t begun, limit;
static int running, ended;

static void finish(avr_t *avr, const char *how, uint32_t value) {
  (void)avr;
  if (!ended) printf("%s %" PRIu32 "\n", how, value);
  ended = 1;
}

static uint8_t *place_of(avr_t *avr, const fault *f) { return (f->space == 'f' ? avr->flash : avr->data) + f->address; }

/* Instructions of two words: lds, sts, jmp, call. */
static int is_long(const avr_t *avr, uint32_t pc) {
  const unsigned word = avr->flash[pc] | (unsigned)avr->flash[pc + 1] << 8;
  return (word & 0xfc0fu) == 0x9000u || (word & 0xfe0cu) == 0x940cu;
}

static void inflict(avr_t *avr, fault *f) {
  const uint32_t pc = (uint32_t)avr->pc;
  f->struck = 1;
  if (f->space == 'p') {
    avr->pc += is_long(avr, pc) ? 4 : 2;
    fprintf(hits, "%zu %" PRIu32 " 0 1\n", (size_t)(f - faults), pc);
    return;
  }
  const int flags = f->space == 'd' && f->address == R_SREG; /* simavr keeps them apart */
  if (flags) {
    avr->data[R_SREG] = 0;
    for (int i = 0; i < 8; i++) avr->data[R_SREG] |= (uint8_t)(avr->sreg[i] << i);
  }
  uint8_t *byte = place_of(avr, f);
  f->was = *byte;
  *byte = (uint8_t)((*byte & f->keep) ^ f->flip);
  if (flags) {
    for (int i = 0; i < 8; i++) avr->sreg[i] = (uint8_t)(*byte >> i & 1);
  }
  fprintf(hits, "%zu %" PRIu32 " %u %u\n", (size_t)(f - faults), pc, f->was, *byte);
}

static int is_inside(const avr_t *avr, const fault *f) { return f->space == 'p' || f->address <= (f->space == 'f' ? avr->flashend : avr->ramend); }

/* A cycle timer: every fault that is due, and the time of the next. */
static avr_cycle_count_t strike(avr_t *avr, avr_cycle_count_t when, void *unused) {
  (void)unused;
  for (; running && next_fault < fault_count && faults[next_fault].sample == sample; next_fault++) {
    const avr_cycle_count_t due = begun + faults[next_fault].cycle;
    if (due > when && due > avr->cycle) return due;
    if (is_inside(avr, &faults[next_fault])) inflict(avr, &faults[next_fault]);
  }
  return 0;
}

/* Faults that wait for an instruction: the core is about to execute the one at its program counter. */
static void arrive(avr_t *avr) {
  const uint32_t pc = (uint32_t)avr->pc; /* a skipped instruction is not come to a second time */
  for (size_t i = first_of_call; i < last_arrival; i++) {
    if (faults[i].cycle == pc && ++faults[i].arrivals == faults[i].arrival && is_inside(avr, &faults[i])) inflict(avr, &faults[i]);
  }
}

static void begin(avr_t *avr) {
  sample++;
  running = 1;
  begun = avr->cycle;
  while (next_fault < fault_count && faults[next_fault].sample < sample) next_fault++;
  first_of_call = end_of_call = next_fault;
  while (end_of_call < fault_count && faults[end_of_call].sample == sample) end_of_call++;
  while (next_fault < end_of_call && faults[next_fault].arrival != 0) next_fault++;
  last_arrival = next_fault;
  if (next_fault < fault_count && faults[next_fault].sample == sample) {
    avr_cycle_timer_register(avr, faults[next_fault].cycle + 1, strike, NULL);
  }
}

static uint32_t end(avr_t *avr) {
  running = 0;
  avr_cycle_timer_cancel(avr, strike, NULL);
  for (size_t i = end_of_call; i-- > first_of_call;) { /* RAM and registers have moved on since */
    if (faults[i].struck && !faults[i].stays && faults[i].space == 'f') *place_of(avr, &faults[i]) = faults[i].was;
  }
  last_arrival = first_of_call = next_fault = end_of_call;
  return (uint32_t)(avr->cycle - begun);
}

static void serve(avr_t *avr, avr_io_addr_t address, uint8_t operation, void *unused) {
  (void)address, (void)unused;
  board_letter letter;
  const uint32_t at = avr->data[GPIOR1] | (uint32_t)avr->data[GPIOR2] << 8;
  if (at + sizeof letter > avr->ramend + 1u) {
    finish(avr, "crash", avr->pc);
    return;
  }
  memcpy(&letter, avr->data + at, sizeof letter);
  const int moves = operation == MAIL_READ || operation == MAIL_WRITE;
  if (moves && (uint32_t)letter.data + letter.bytes > avr->ramend + 1u) {
    finish(avr, "crash", avr->pc);
    return;
  }
  if (running && operation != MAIL_END) {
    finish(avr, "restart", avr->pc); /* a jump into the harness, most often to the reset vector */
    return;
  }
  switch (operation) {
    case MAIL_READ: letter.result = fread(avr->data + letter.data, 1, letter.bytes, inputs) == letter.bytes; break;
    case MAIL_WRITE: fwrite(avr->data + letter.data, 1, letter.bytes, results), fflush(results); break;
    case MAIL_BEGIN: begin(avr); break;
    case MAIL_END: letter.result = end(avr); break;
    case MAIL_EXIT: finish(avr, letter.bytes == 0 ? "ok" : "exit", letter.bytes); break;
    default: break;
  }
  memcpy(avr->data + at, &letter, sizeof letter);
}

static void read_faults(void) {
  FILE *file = fopen("faults.txt", "r");
  if (file == NULL) return;
  hits = fopen("hits.txt", "w");
  if (hits == NULL) exit(1);
  fault f;
  unsigned keep, flip, stays;
  memset(&f, 0, sizeof f);
  while (fscanf(file, "%" SCNd64 " %" SCNu64 " %" SCNu32 " %c %" SCNu32 " %u %u %u", &f.sample, &f.cycle, &f.arrival, &f.space, &f.address,
                &keep, &flip, &stays) == 8) {
    f.keep = (uint8_t)keep;
    f.flip = (uint8_t)flip;
    f.stays = (uint8_t)stays;
    faults = realloc(faults, (fault_count + 1) * sizeof *faults);
    if (faults == NULL) exit(1);
    faults[fault_count++] = f;
  }
  fclose(file);
}

static void quiet(avr_t *avr, const int level, const char *format, va_list arguments) {
  (void)avr;
  if (level <= LOG_ERROR) vfprintf(stderr, format, arguments);
}

int main(int count, char **arguments) {
  elf_firmware_t image = {0};
  if (count != 4 || elf_read_firmware(arguments[1], &image) != 0) return 1;
  avr_t *avr = avr_make_mcu_by_name(arguments[2]);
  inputs = fopen("in.bin", "rb");
  results = fopen("out.bin", "wb");
  if (avr == NULL || inputs == NULL || results == NULL) return 1;
  avr_global_logger_set(quiet);
  avr_init(avr);
  avr->frequency = 16000000;
  avr_load_firmware(avr, &image);
  limit = strtoull(arguments[3], NULL, 10);
  read_faults();
  avr_register_io_write(avr, GPIOR0, serve, NULL);
  while (!ended) {
    if (running && first_of_call < last_arrival) arrive(avr);
    const int state = avr_run(avr);
    if (state == cpu_Crashed) finish(avr, "crash", avr->pc);
    if (state == cpu_Done) finish(avr, "sleep", avr->pc);
    if (running && limit != 0 && avr->cycle - begun > limit) finish(avr, "timeout", avr->pc);
  }
  if (hits != NULL) fclose(hits);
  fflush(stdout);
  return 0;
}
