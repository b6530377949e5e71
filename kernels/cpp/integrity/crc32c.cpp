// The instruction takes three cycles and one can begin every cycle, so three streams run side by side; the CRCs of the first two
// are then moved over the bytes of the others (multiplied by x^(8 n) modulo the polynomial) with a table. Compiled for the
// baseline only: each way is a function with a target of its own, chosen once.
#include "integrity/crc32c.h"

#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace edgerun {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78u;  // bits reflected

struct Tables {
  uint32_t t[8][256];
};

constexpr Tables make_tables() {
  Tables r{};
  for (uint32_t n = 0; n < 256; ++n) {
    uint32_t c = n;
    for (int k = 0; k < 8; ++k) c = c & 1 ? kPolynomial ^ (c >> 1) : c >> 1;
    r.t[0][n] = c;
  }
  for (uint32_t n = 0; n < 256; ++n)
    for (int k = 1; k < 8; ++k) r.t[k][n] = r.t[0][r.t[k - 1][n] & 0xFF] ^ (r.t[k - 1][n] >> 8);
  return r;
}
constexpr Tables kTables = make_tables();

using Way = uint32_t (*)(const unsigned char*, size_t, uint32_t);

uint32_t by_table(const unsigned char* p, size_t bytes, uint32_t crc) {
  const auto& t = kTables.t;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    const uint32_t a = crc ^ (p[0] | p[1] << 8 | p[2] << 16 | static_cast<uint32_t>(p[3]) << 24);
    crc = t[7][a & 0xFF] ^ t[6][a >> 8 & 0xFF] ^ t[5][a >> 16 & 0xFF] ^ t[4][a >> 24] ^ t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]];
  }
  for (; bytes; --bytes, ++p) crc = t[0][(crc ^ *p) & 0xFF] ^ (crc >> 8);
  return crc;
}

#if defined(__x86_64__) || (defined(__aarch64__) && defined(__linux__))
#define EDGERUN_CRC_INSTRUCTION 1
#if defined(__x86_64__)
#define EDGERUN_CRC_TARGET __attribute__((target("sse4.2")))
#define EDGERUN_CRC_8(crc, word) static_cast<uint32_t>(_mm_crc32_u64(crc, word))
#define EDGERUN_CRC_1(crc, byte) _mm_crc32_u8(crc, byte)
#elif defined(__clang__)
#define EDGERUN_CRC_TARGET __attribute__((target("crc")))
#define EDGERUN_CRC_8(crc, word) __builtin_arm_crc32cd(crc, word)
#define EDGERUN_CRC_1(crc, byte) __builtin_arm_crc32cb(crc, byte)
#else
#define EDGERUN_CRC_TARGET __attribute__((target("+crc")))
#define EDGERUN_CRC_8(crc, word) __builtin_aarch64_crc32cx(crc, word)
#define EDGERUN_CRC_1(crc, byte) __builtin_aarch64_crc32cb(crc, byte)
#endif

// a b modulo the polynomial; the highest bit is x^0.
constexpr uint32_t product(uint32_t a, uint32_t b) {
  uint32_t r = 0;
  for (uint32_t m = 0x80000000u; m; m >>= 1) {
    if (a & m) r ^= b;
    b = b & 1 ? kPolynomial ^ (b >> 1) : b >> 1;
  }
  return r;
}

struct Shift {
  uint32_t t[4][256];
  constexpr uint32_t operator()(uint32_t crc) const { return t[0][crc & 0xFF] ^ t[1][crc >> 8 & 0xFF] ^ t[2][crc >> 16 & 0xFF] ^ t[3][crc >> 24]; }
};

// Moves a CRC over `bytes` zero bytes.
constexpr Shift make_shift(size_t bytes) {
  uint32_t power = 0x00800000u, factor = 0x80000000u;  // x^8, 1
  for (; bytes; bytes >>= 1, power = product(power, power))
    if (bytes & 1) factor = product(factor, power);
  Shift r{};
  for (uint32_t k = 0; k < 4; ++k)
    for (uint32_t n = 0; n < 256; ++n) r.t[k][n] = product(factor, n << 8 * k);
  return r;
}

constexpr size_t kLong = 1360, kShort = 128;  // bytes of a stream; three long ones and a little make a block of 4096
constexpr Shift kShiftLong = make_shift(kLong), kShiftShort = make_shift(kShort);

EDGERUN_CRC_TARGET inline uint64_t word(const unsigned char* p) {
  uint64_t w;
  std::memcpy(&w, p, 8);
  return w;
}

template <size_t kBytes>
EDGERUN_CRC_TARGET uint32_t three(const unsigned char* p, uint32_t crc, const Shift& shift) {
  uint32_t a = crc, b = 0, c = 0;
  for (size_t k = 0; k < kBytes; k += 8) {
    a = EDGERUN_CRC_8(a, word(p + k));
    b = EDGERUN_CRC_8(b, word(p + kBytes + k));
    c = EDGERUN_CRC_8(c, word(p + 2 * kBytes + k));
  }
  return shift(shift(a) ^ b) ^ c;
}

EDGERUN_CRC_TARGET uint32_t by_instruction(const unsigned char* p, size_t bytes, uint32_t crc) {
  for (; bytes >= 3 * kLong; bytes -= 3 * kLong, p += 3 * kLong) crc = three<kLong>(p, crc, kShiftLong);
  for (; bytes >= 3 * kShort; bytes -= 3 * kShort, p += 3 * kShort) crc = three<kShort>(p, crc, kShiftShort);
  for (; bytes >= 8; bytes -= 8, p += 8) crc = EDGERUN_CRC_8(crc, word(p));
  for (; bytes; --bytes, ++p) crc = EDGERUN_CRC_1(crc, *p);
  return crc;
}

bool has_instruction() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("sse4.2");
#else
  return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#endif
}
#endif

Way way() {
#ifdef EDGERUN_CRC_INSTRUCTION
  static const Way chosen = has_instruction() ? by_instruction : by_table;
  return chosen;
#else
  return by_table;
#endif
}

}  // namespace

uint32_t crc32c(const void* data, size_t bytes, uint32_t crc) { return ~way()(static_cast<const unsigned char*>(data), bytes, ~crc); }

uint32_t crc32c_by_table(const void* data, size_t bytes, uint32_t crc) {
  return ~by_table(static_cast<const unsigned char*>(data), bytes, ~crc);
}

const char* crc32c_method() {
#if defined(__x86_64__)
  return way() == by_table ? "table" : "sse4.2";
#else
  return way() == by_table ? "table" : "armv8";
#endif
}

}  // namespace edgerun
