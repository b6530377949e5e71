/* One element of 1, 2, 4 or 8 bytes from one place to another, whatever its type. */
#include "base.h"

ER_INLINE void er_move(void *to, const void *from, int32_t size) {
  if (size == 4)
    memcpy(to, from, 4);
  else if (size == 1)
    memcpy(to, from, 1);
  else if (size == 2)
    memcpy(to, from, 2);
  else
    memcpy(to, from, 8);
}
