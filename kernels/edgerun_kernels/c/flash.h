/* Constants in program memory, which an AVR's ordinary loads do not see: ER_FLASH behind a table's name, ER_READ to read it. Elsewhere both
 * are plain C, so that the same source is tested on a computer. */
#include "base.h"

#if defined(__AVR__)
#include <avr/pgmspace.h>
#define ER_FLASH PROGMEM
#define ER_PAGE PROGMEM __attribute__((aligned(256)))
#define ER_READ8(p) pgm_read_byte(p)
#define ER_READ32(p) pgm_read_dword(p)
#define ER_READ_FLOAT(p) pgm_read_float(p)
#define ER_FROM_FLASH(to, from, bytes) memcpy_P((to), (from), (bytes))
#define rintf(v) ((float)lrint(v)) /* which avr-libc lacks; a double is a float there */
#else
#define ER_FLASH
#define ER_PAGE
#define ER_READ8(p) (*(p))
#define ER_READ32(p) (*(p))
#define ER_READ_FLOAT(p) (*(p))
#define ER_FROM_FLASH(to, from, bytes) memcpy((to), (from), (bytes))
#endif
