// CRC-32C (Castagnoli; RFC 3720 appendix B.4), with the CPU's instruction where there is one: eight bytes a cycle.
#pragma once
#include <cstddef>
#include <cstdint>

namespace edgerun {

// The CRC of what `crc` was the CRC of, followed by `bytes` of data. The CRC of nothing is 0.
uint32_t crc32c(const void* data, size_t bytes, uint32_t crc = 0);
// The same from tables, eight bytes a step: for CPUs without the instruction.
uint32_t crc32c_by_table(const void* data, size_t bytes, uint32_t crc = 0);
// "sse4.2", "armv8" or "table".
const char* crc32c_method();

}  // namespace edgerun
