// A sum over the bytes of a buffer that is cheap enough to be formed after every step and taken again before every reader.
//
// Per 64-bit lane, over its words x in order: y = x ^ (x >> 32), s += y, t += s, all mod 2^64. At the end each lane's s and t are
// multiplied by an odd factor of the lane, and the products added: two sums. Every one or two flipped bits change them, whatever the
// data: a flip of bit b changes y by d = +-2^b (b < 32) or 2^(b - 32) (+-1 +- 2^32), never 0 mod 2^64, and s with it. Two changes
// of one lane cancel in s only where b is the same and the terms +-1 have opposite signs; then t changes by 2^b (b < 32) or
// 2^(b - 32) times the distance of the words, plus a multiple of 2^32 of that: not 0 as long as a lane has less than 2^31 words.
// Two lanes cannot cancel because no two factors are equal or opposite mod 2^32. (A plain sum misses half of all pairs of highest
// bits; a weighted one still misses those at even distance.) Wider damage is missed in about one case of 2^64 or less. Sums of
// different instruction sets differ.
#include "simd.h"

EDGERUN_ISA_BEGIN

typedef uint64_t vq __attribute__((vector_size(kVectorBytes)));
typedef uint64_t vq_unaligned __attribute__((vector_size(kVectorBytes), aligned(1), may_alias));

inline constexpr int kChains = 2, kFactors = kChains * kVectorBytes / 8;

struct Factors {
  uint64_t odd[kFactors];
};
constexpr Factors make_factors() {
  Factors f{};
  uint64_t v = 0x9E3779B97F4A7C15u;
  for (uint64_t& odd : f.odd) odd = (v = v * 0xBF58476D1CE4E5B9u + 0x94D049BB133111EBu) >> 16 | 1;
  return f;
}
constexpr bool differ(const Factors& f) {
  for (int i = 0; i < kFactors; ++i)
    for (int k = 0; k < i; ++k)
      if (static_cast<uint32_t>(f.odd[i] - f.odd[k]) == 0 || static_cast<uint32_t>(f.odd[i] + f.odd[k]) == 0) return false;
  return true;
}
alignas(kVectorBytes) inline constexpr Factors kFactor = make_factors();
static_assert(differ(kFactor), "two lanes could cancel");

// The first n bytes, 0 < n < kVectorBytes, zeros behind them.
EDGERUN_SIMD vq load_part(const char* p, size_t n) {
#if defined(EDGERUN_SIMD_AVX512)
  return (vq)_mm512_maskz_loadu_epi8(~uint64_t{0} >> (kVectorBytes - n), p);
#else
  vq x{};
  __builtin_memcpy(&x, p, n);
  return x;
#endif
}

EDGERUN_SIMD uint64_t total_of(vq a) {
#if defined(EDGERUN_SIMD_AVX512)
  const __m256i half = _mm256_add_epi64(_mm512_maskz_extracti64x4_epi64(0xf, (__m512i)a, 0),
                                        _mm512_maskz_extracti64x4_epi64(0xf, (__m512i)a, 1));
  const __m128i quarter = _mm_add_epi64(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_add_epi64(quarter, _mm_unpackhi_epi64(quarter, quarter))));
#else
  uint64_t total = 0;
  for (int lane = 0; lane < kVectorBytes / 8; ++lane) total += a[lane];
  return total;
#endif
}

void word_sum(const void* data, size_t bytes, uint64_t* sums);
void word_sum(const void* data, size_t bytes, uint64_t* sums) {
  const char* p = static_cast<const char*>(data);
  vq s[kChains] = {}, t[kChains] = {};
  const auto take = [&](int chain, vq x) __attribute__((always_inline)) {
    s[chain] += x ^ x >> 32;
    t[chain] += s[chain];
  };
  for (; bytes >= kChains * kVectorBytes; bytes -= kChains * kVectorBytes, p += kChains * kVectorBytes)
    for (int k = 0; k < kChains; ++k) take(k, *reinterpret_cast<const vq_unaligned*>(p + k * kVectorBytes));
  static_assert(kChains == 2, "what is left is less than two vectors");
  int k = 0;
  if (bytes >= kVectorBytes) take(k++, *reinterpret_cast<const vq_unaligned*>(p)), bytes -= kVectorBytes, p += kVectorBytes;
  if (bytes) take(k, load_part(p, bytes));
  vq plain{}, weighted{};
#pragma GCC unroll 2
  for (int chain = 0; chain < kChains; ++chain) {
    vq odd;
    __builtin_memcpy(&odd, kFactor.odd + chain * kVectorBytes / 8, sizeof odd);
    plain += s[chain] * odd;
    weighted += t[chain] * odd;
  }
  sums[0] = total_of(plain);
  sums[1] = total_of(weighted);
}

EDGERUN_ISA_END
