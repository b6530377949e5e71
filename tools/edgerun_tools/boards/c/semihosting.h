/* The few calls of Arm semihosting (ARM IHI 0100, "Semihosting for AArch32 and AArch64") that the harness uses: files of the host. */
#ifndef BOARD_SEMIHOSTING_H
#define BOARD_SEMIHOSTING_H

#include "harness.h"

enum { SEMIHOSTING_READ = 1, SEMIHOSTING_WRITE = 5 }; /* "rb", "wb" */

static inline int32_t semihosting(int32_t operation, const void *block) {
  register int32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

/* A handle, or -1. */
static inline int32_t semihosting_open(const char *name, uint32_t mode) {
  uint32_t length = 0;
  while (name[length]) length++;
  const uint32_t block[3] = {(uint32_t)(uintptr_t)name, mode, length};
  return semihosting(1, block);
}

/* Bytes that were not written. */
static inline int32_t semihosting_write(int32_t file, const void *data, uint32_t bytes) {
  const uint32_t block[3] = {(uint32_t)file, (uint32_t)(uintptr_t)data, bytes};
  return semihosting(5, block);
}

/* Bytes that were not read. */
static inline int32_t semihosting_read(int32_t file, void *data, uint32_t bytes) {
  const uint32_t block[3] = {(uint32_t)file, (uint32_t)(uintptr_t)data, bytes};
  return semihosting(6, block);
}

#endif
