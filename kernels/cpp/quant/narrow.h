// int32 lanes to clamped bytes.
#pragma once
#include "quant/fixed_point.h"

EDGERUN_ISA_BEGIN

// y = clamp(v + zero, low, high) as int8 or uint8; low and high lie in the range of that type.
struct Narrow {
  int32_t zero, low, high;
  bool is_signed;
};

// The same in registers. `pair` takes two vectors that belong side by side, `lone` one; n: how many bytes of them are stored.
struct Narrower {
#if defined(EDGERUN_SIMD_AVX2)
  __m256i zero;
  __m128i low, high;
  bool is_signed;

  EDGERUN_INLINE explicit Narrower(const Narrow& n) : is_signed(n.is_signed) {
    zero = _mm256_set1_epi32(n.zero);
    low = _mm_set1_epi8(static_cast<char>(n.low)), high = _mm_set1_epi8(static_cast<char>(n.high));
  }
  EDGERUN_INLINE __m128i clamped(__m256i words) const {  // 16 int16, quadwords 0 2 1 3
    words = _mm256_permute4x64_epi64(words, 0xd8);
    const __m128i a = _mm256_castsi256_si128(words), b = _mm256_extracti128_si256(words, 1);
    if (is_signed) return _mm_max_epi8(_mm_min_epi8(_mm_packs_epi16(a, b), high), low);
    return _mm_max_epu8(_mm_min_epu8(_mm_packus_epi16(a, b), high), low);
  }
  EDGERUN_INLINE void pair(vi a, vi b, uint8_t* out, int n) const {
    const __m256i x = _mm256_add_epi32(reinterpret_cast<__m256i>(a), zero), y = _mm256_add_epi32(reinterpret_cast<__m256i>(b), zero);
    const __m128i bytes = clamped(_mm256_packs_epi32(x, y));
    if (EDGERUN_LIKELY(n == 2 * kLanes)) return _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    alignas(16) uint8_t all[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes);
    __builtin_memcpy(out, all, static_cast<size_t>(n));
  }
  EDGERUN_INLINE void lone(vi a, uint8_t* out, int n) const {
    const __m256i x = _mm256_add_epi32(reinterpret_cast<__m256i>(a), zero);
    const __m128i bytes = clamped(_mm256_packs_epi32(x, x));
    if (EDGERUN_LIKELY(n == kLanes)) return _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
    alignas(16) uint8_t all[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes);
    __builtin_memcpy(out, all, static_cast<size_t>(n));
  }
#else
  vi zero, low, high;

  EDGERUN_INLINE explicit Narrower(const Narrow& n)
      : zero(broadcast_int(n.zero)), low(broadcast_int(n.low)), high(broadcast_int(n.high)) {}
  EDGERUN_INLINE void lone(vi a, uint8_t* out, int n) const {
    const vi y = max_int(min_int(a + zero, high), low);
#if defined(EDGERUN_SIMD_AVX512)
    if (EDGERUN_LIKELY(n == kLanes))
      return _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_maskz_cvtepi32_epi8(0xffff, reinterpret_cast<__m512i>(y)));
#elif defined(EDGERUN_SIMD_NEON)
    if (EDGERUN_LIKELY(n == kLanes)) {
      const uint16x4_t words = vmovn_u32((uint32x4_t)y);
      const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
      uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
      return static_cast<void>(__builtin_memcpy(out, &four, 4));
    }
#endif
    for (int k = 0; k < kLanes; ++k)
      if (k < n) out[k] = static_cast<uint8_t>(y[k]);
  }
  EDGERUN_INLINE void pair(vi a, vi b, uint8_t* out, int n) const {
    lone(a, out, n < kLanes ? n : kLanes);
    if (n > kLanes) lone(b, out + kLanes, n - kLanes);
  }
#endif
};

EDGERUN_ISA_END
