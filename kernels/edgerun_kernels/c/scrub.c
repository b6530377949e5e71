/* CRC-32C over constants, so many bytes at a time, all of them in turns. It sees every 1 to 3 flipped bits of a block, every odd number of
 * them, every burst of 32 bits. Cores for microcontrollers have no instruction for it: a table of 1 KiB, some 8 instructions a byte. */
#include "watch.h"

typedef struct {
  const void *data;
  uint32_t bytes, crc;
  int32_t step; /* that reads it */
} er_block;

static struct {
  uint32_t block, at, crc; /* what comes next, and the CRC so far */
} er_scrubbed;

static uint32_t er_crc(uint32_t crc, const uint8_t *data, uint32_t bytes, const uint32_t *table) {
  for (; bytes > 0; --bytes) crc = table[(crc ^ *data++) & 255u] ^ crc >> 8;
  return crc;
}

/* Goes on for so many bytes. Where a block is damaged it stays there, so that every run tells until it is whole again. */
static void er_scrub(const er_block *blocks, uint32_t count, const uint32_t *table, uint32_t bytes) {
  while (bytes > 0) {
    const er_block *b;
    uint32_t n;
    if (er_scrubbed.block >= count || er_scrubbed.at >= blocks[er_scrubbed.block].bytes) memset(&er_scrubbed, 0, sizeof er_scrubbed);
    b = blocks + er_scrubbed.block;
    n = b->bytes - er_scrubbed.at < bytes ? b->bytes - er_scrubbed.at : bytes;
    er_scrubbed.crc = ~er_crc(~er_scrubbed.crc, (const uint8_t *)b->data + er_scrubbed.at, n, table);
    er_scrubbed.at += n;
    bytes -= n;
    if (er_scrubbed.at < b->bytes) return;
    n = er_scrubbed.crc == b->crc;
    er_scrubbed.at = er_scrubbed.crc = 0;
    if (!n) {
      er_found(b->step, 1u << ER_CHECK_WEIGHTS);
      er_watch.worn = 1;
      return;
    }
    ++er_watch.passed;
    ++er_scrubbed.block;
  }
}
