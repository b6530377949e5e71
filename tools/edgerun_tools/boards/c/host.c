/* Platform of the machine itself: files in the working folder, nanoseconds instead of instructions, a painted stack of a thread. */
#define _POSIX_C_SOURCE 200809L
#include "harness.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STACK ((size_t)1 << 23)
#define PAINT 0x5e

static FILE *inputs, *results;
static unsigned char *stack;
static int32_t (*called)(void);
static board_measure found;

void board_start(void) {
  inputs = fopen("in.bin", "rb");
  results = fopen("out.bin", "wb");
  if (inputs == NULL || results == NULL || posix_memalign((void **)&stack, 4096, STACK) != 0) board_exit(2);
}

int board_read(void *data, uint32_t bytes) { return fread(data, 1, bytes, inputs) == bytes; }

void board_write(const void *data, uint32_t bytes) {
  if (fwrite(data, 1, bytes, results) != bytes || fflush(results) != 0) board_exit(2);
}

uint32_t board_polls(uint32_t ticks) {
  (void)ticks;
  return 0;
}

uint32_t board_stack_bytes(void) { return (uint32_t)STACK; }

static void *thread(void *unused) {
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  found.status = called();
  clock_gettime(CLOCK_MONOTONIC, &to);
  found.ticks = (uint32_t)((to.tv_sec - from.tv_sec) * 1000000000L + (to.tv_nsec - from.tv_nsec));
  return unused;
}

board_measure board_run(int32_t (*function)(void)) {
  pthread_attr_t attributes;
  pthread_t id;
  memset(stack, PAINT, STACK);
  memset(&found, 0, sizeof found);
  called = function;
  if (pthread_attr_init(&attributes) != 0 || pthread_attr_setstack(&attributes, stack, STACK) != 0 ||
      pthread_create(&id, &attributes, thread, NULL) != 0 || pthread_join(id, NULL) != 0) {
    board_exit(2);
  }
  pthread_attr_destroy(&attributes);
  size_t low = 0;
  while (low < STACK && stack[low] == PAINT) low++;
  found.stack = (uint32_t)(STACK - low);
  return found;
}

void board_exit(int code) { exit(code); }
