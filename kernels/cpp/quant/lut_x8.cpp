// lut_x8: y = table[x] for bytes x (as unsigned) and 256 bytes of table. The output may be the input's buffer.
//
// x86 shuffles look up 16 entries at a time and give 0 for a negative index: with x taken as signed and reduced by 16 (saturating)
// from one table to the next, the tables 0..x/16 answer, always at entry x % 16. Entries are therefore kept as the XOR with the
// table before. The upper half of x goes through the same with its sign bit flipped.
#include "quant/lanes.h"
#include "quant/lut.h"

EDGERUN_ISA_BEGIN
namespace {
Status query(const Request& r, Need* need) {
  EDGERUN_TRY(lut_operands(r, 1));
  need_unary(r, 4, need);
  return Status::ok;
}
Status prepare(const Request& r, void*, void*) { return lut_operands(r, 1); }

#if defined(EDGERUN_SIMD_AVX512) || defined(EDGERUN_SIMD_AVX2)
#define EDGERUN_LOOKUP 1
struct Lookup {
  v8 part[16];

  explicit Lookup(const uint8_t* table) {
    for (int k = 0; k < 16; ++k)
      for (int e = 0; e < kBytes; e += 16) __builtin_memcpy(reinterpret_cast<char*>(&part[k]) + e, table + 16 * k, 16);
    for (int k = 15; k > 0; --k)
      if (k != 8) part[k] ^= part[k - 1];
  }
  template <int kMany> EDGERUN_INLINE void operator()(const uint8_t* x, uint8_t* y) const {
    const v8 step = broadcast_byte(16), flip = broadcast_byte(0x80);
    v8 at[kMany], got[kMany];
    for (int c = 0; c < kMany; ++c) at[c] = loadu_bytes(x + c * kBytes), got[c] = v8{};
    for (int half = 0; half < 2; ++half) {
      for (int k = 0; k < 8; ++k)
        for (int c = 0; c < kMany; ++c) {
          const v8 index = at[c];
          // opaque: GCC would XOR the 16 as a tree, and keep all of them in memory for it
          got[c] = (v8)opaque((vf)(got[c] ^ (v8)EDGERUN_X86(shuffle_epi8, part[8 * half + k], index)));
          at[c] = (v8)EDGERUN_X86(subs_epi8, index, step);
        }
      for (int c = 0; c < kMany; ++c) at[c] = loadu_bytes(x + c * kBytes) ^ flip;
    }
    for (int c = 0; c < kMany; ++c) storeu_bytes(y + c * kBytes, got[c]);
  }
};
#elif defined(EDGERUN_SIMD_NEON) && defined(__aarch64__)
#define EDGERUN_LOOKUP 1
struct Lookup {
  uint8x16x4_t part[4];

  explicit Lookup(const uint8_t* table) {
    for (int k = 0; k < 4; ++k)
      for (int e = 0; e < 4; ++e) part[k].val[e] = vld1q_u8(table + 64 * k + 16 * e);
  }
  template <int kMany> EDGERUN_INLINE void operator()(const uint8_t* x, uint8_t* y) const {
    const uint8x16_t step = vdupq_n_u8(64);
    for (int c = 0; c < kMany; ++c) {
      uint8x16_t at = vld1q_u8(x + c * kBytes), got = vqtbl4q_u8(part[0], at);
      for (int k = 1; k < 4; ++k) at = vsubq_u8(at, step), got = vqtbx4q_u8(got, part[k], at);
      vst1q_u8(y + c * kBytes, got);
    }
  }
};
#endif

void look_up(const uint8_t* table, const uint8_t* x, uint8_t* y, int64_t n) {
  int64_t k = 0;
#if defined(EDGERUN_LOOKUP)
  if (n >= 4 * kBytes) {
    const Lookup lookup(table);
    for (; k + 2 * kBytes <= n; k += 2 * kBytes) lookup.operator()<2>(x + k, y + k);
  }
#endif
  for (; k + 8 <= n; k += 8) {  // all eight are read before one is written: in place, and no order between loads and stores
    uint8_t got[8];
    for (int c = 0; c < 8; ++c) got[c] = table[x[k + c]];
    __builtin_memcpy(y + k, got, 8);
  }
  for (; k < n; ++k) y[k] = table[x[k]];
}

void run(const Run& r) {
  const int64_t begin = r.begin * kBlock, end = least(r.end * kBlock, r.out[0].elements());
  look_up(r.in[1].as<const uint8_t>(), r.in[0].as<const uint8_t>() + begin, r.out[0].as<uint8_t>() + begin, end - begin);
}
}  // namespace
extern const Kernel lut_x8_kernel{"lut_x8", query, prepare, run};
EDGERUN_ISA_END
