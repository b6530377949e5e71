/* How an image on a simulated AVR asks the simulator for files and for the count of cycles: it writes the address of a letter to GPIOR1
 * (low) and GPIOR2 (high), then the operation to GPIOR0. The write takes effect at once; no pin or UART is used, and no cycles pass. */
#ifndef BOARD_AVR_MAIL_H
#define BOARD_AVR_MAIL_H

#include <stdint.h>

enum { MAIL_READ = 'r', MAIL_WRITE = 'w', MAIL_BEGIN = 'b', MAIL_END = 'e', MAIL_EXIT = 'x' };

typedef struct __attribute__((packed)) {
  uint16_t data;   /* address in the AVR's data space */
  uint16_t bytes;  /* MAIL_EXIT: the code */
  uint32_t result; /* MAIL_READ: 1, or 0 at the end; MAIL_END: cycles since MAIL_BEGIN */
} board_letter;

#endif
