// Lanes of bytes and of int16, beside simd.h's vf and vi: v8 (kBytes of them) and v16 (kWords).
//
// Bytes are unsigned here: an int8 is a byte with its sign bit flipped, so that its zero point is 128 more (bytes.h). What is
// widened comes apart in the order the instruction set likes; only the narrowing function that is its inverse restores the
// order:
//   widen(v8) → v16 low, high                  narrow_words(low, high) → v8, saturated to 0..255
//   widen_unsigned_words(v16) → vi low, high  narrow_ints(low, high) → v16, saturated to int16
// The `in_order` forms take vectors as they lie in memory.
#pragma once
#include "simd.h"

EDGERUN_ISA_BEGIN

inline constexpr int kBytes = kVectorBytes, kWords = kBytes / 2;

typedef uint8_t v8 __attribute__((vector_size(kBytes)));
typedef int16_t v16 __attribute__((vector_size(kBytes)));
typedef uint16_t v16u __attribute__((vector_size(kBytes)));  // to add and multiply modulo 2^16
typedef uint8_t v8_unaligned __attribute__((vector_size(kBytes), aligned(1), may_alias));

EDGERUN_SIMD v8 broadcast_byte(uint8_t a) { return a + v8{}; }
EDGERUN_SIMD v16 broadcast_word(int16_t a) { return a + v16{}; }
EDGERUN_SIMD v8 loadu_bytes(const void* p) { return *static_cast<const v8_unaligned*>(p); }
EDGERUN_SIMD void storeu_bytes(void* p, v8 a) { *static_cast<v8_unaligned*>(p) = a; }

// n bytes, 0 <= n <= kBytes, in two pieces that may overlap: a call of memcpy costs more than what is done with them.
template <int kSize> EDGERUN_SIMD bool copy_two(char* to, const char* from, int64_t n) {
  if (kSize > kBytes || n < kSize) return false;
  char a[kSize], b[kSize];
  __builtin_memcpy(a, from, kSize), __builtin_memcpy(b, from + n - kSize, kSize);
  __builtin_memcpy(to, a, kSize), __builtin_memcpy(to + n - kSize, b, kSize);
  return true;
}
EDGERUN_SIMD void copy_few(void* to, const void* from, int64_t n) {
  char* t = static_cast<char*>(to);
  const char* f = static_cast<const char*>(from);
  if (copy_two<32>(t, f, n) || copy_two<16>(t, f, n) || copy_two<8>(t, f, n) || copy_two<4>(t, f, n) || copy_two<2>(t, f, n)) return;
  if (n == 1) *t = *f;
}
// The first n bytes; the other lanes load as 0.
EDGERUN_SIMD v8 load_bytes_partial(const void* p, int64_t n) {
  v8 a{};
  copy_few(&a, p, n);
  return a;
}
EDGERUN_SIMD void store_bytes_partial(void* p, v8 a, int64_t n) { copy_few(p, &a, n); }

// x86's operations of two vectors have the same name at every width; the maskz form as in simd.h.
#if defined(EDGERUN_SIMD_AVX512)
typedef __m512i vx86;
#define EDGERUN_X86(op, a, b) _mm512_maskz_##op(-1, (vx86)(a), (vx86)(b))
#elif defined(EDGERUN_SIMD_AVX2)
typedef __m256i vx86;
#define EDGERUN_X86(op, a, b) _mm256_##op((vx86)(a), (vx86)(b))
#elif defined(EDGERUN_SIMD_SSE2)
typedef __m128i vx86;
#define EDGERUN_X86(op, a, b) _mm_##op((vx86)(a), (vx86)(b))
#endif

EDGERUN_SIMD v8 min_bytes(v8 a, v8 b) {
#if defined(EDGERUN_X86)
  return (v8)EDGERUN_X86(min_epu8, a, b);
#elif defined(EDGERUN_SIMD_NEON)
  return (v8)vminq_u8((uint8x16_t)a, (uint8x16_t)b);
#else
  const v8 m = (v8)(a < b);
  return (m & a) | (~m & b);
#endif
}
EDGERUN_SIMD v8 max_bytes(v8 a, v8 b) {
#if defined(EDGERUN_X86)
  return (v8)EDGERUN_X86(max_epu8, a, b);
#elif defined(EDGERUN_SIMD_NEON)
  return (v8)vmaxq_u8((uint8x16_t)a, (uint8x16_t)b);
#else
  const v8 m = (v8)(a > b);
  return (m & a) | (~m & b);
#endif
}
EDGERUN_SIMD uint8_t reduce_max_bytes(v8 a) {
#if defined(EDGERUN_X86)
#if defined(EDGERUN_SIMD_AVX512)
  const __m256i h = _mm256_max_epu8(_mm512_maskz_extracti64x4_epi64(0xf, (__m512i)a, 0), _mm512_maskz_extracti64x4_epi64(0xf, (__m512i)a, 1));
  __m128i m = _mm_max_epu8(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
#elif defined(EDGERUN_SIMD_AVX2)
  __m128i m = _mm_max_epu8(_mm256_castsi256_si128((__m256i)a), _mm256_extracti128_si256((__m256i)a, 1));
#else
  __m128i m = (__m128i)a;
#endif
  m = _mm_max_epu8(m, _mm_srli_si128(m, 8));
  m = _mm_max_epu8(m, _mm_srli_si128(m, 4));
  m = _mm_max_epu8(m, _mm_srli_si128(m, 2));
  m = _mm_max_epu8(m, _mm_srli_si128(m, 1));
  return static_cast<uint8_t>(_mm_cvtsi128_si32(m));
#elif defined(__aarch64__) && defined(EDGERUN_SIMD_NEON)
  return vmaxvq_u8((uint8x16_t)a);
#else
  uint8_t top = 0;
  for (int k = 0; k < kBytes; ++k) top = a[k] > top ? a[k] : top;
  return top;
#endif
}
EDGERUN_SIMD v16 add_saturating(v16 a, v16 b) {
#if defined(EDGERUN_X86)
  return (v16)EDGERUN_X86(adds_epi16, a, b);
#elif defined(EDGERUN_SIMD_NEON)
  return (v16)vqaddq_s16((int16x8_t)a, (int16x8_t)b);
#else
  v16 y;
  for (int k = 0; k < kWords; ++k) {
    const int s = a[k] + b[k];
    y[k] = static_cast<int16_t>(s > INT16_MAX ? INT16_MAX : s < INT16_MIN ? INT16_MIN : s);
  }
  return y;
#endif
}

#if !defined(EDGERUN_X86)
typedef uint8_t v8_half __attribute__((vector_size(kBytes / 2)));
typedef int16_t v16_half __attribute__((vector_size(kBytes / 2)));
template <class Half, class Whole> EDGERUN_SIMD void halves(Whole a, Half* low, Half* high) {
  __builtin_memcpy(low, &a, sizeof *low);
  __builtin_memcpy(high, reinterpret_cast<const char*>(&a) + sizeof *low, sizeof *high);
}
#endif

EDGERUN_SIMD void widen(v8 a, v16* low, v16* high) {
#if defined(EDGERUN_X86)
  *low = (v16)EDGERUN_X86(unpacklo_epi8, a, v8{}), *high = (v16)EDGERUN_X86(unpackhi_epi8, a, v8{});
#else
  v8_half l, h;
  halves(a, &l, &h);
  *low = __builtin_convertvector(l, v16), *high = __builtin_convertvector(h, v16);
#endif
}

// Lane by lane a + b, in the order of widen.
EDGERUN_SIMD void add_wide(v8 a, v8 b, v16u* low, v16u* high) {
#if defined(EDGERUN_SIMD_AVX512) || defined(EDGERUN_SIMD_AVX2)
  const v8 ones = broadcast_byte(1);
  *low = (v16u)EDGERUN_X86(maddubs_epi16, EDGERUN_X86(unpacklo_epi8, a, b), ones);
  *high = (v16u)EDGERUN_X86(maddubs_epi16, EDGERUN_X86(unpackhi_epi8, a, b), ones);
#elif defined(EDGERUN_SIMD_NEON)
  *low = (v16u)vaddl_u8(vget_low_u8((uint8x16_t)a), vget_low_u8((uint8x16_t)b));
  *high = (v16u)vaddl_u8(vget_high_u8((uint8x16_t)a), vget_high_u8((uint8x16_t)b));
#else
  v16 al, ah, bl, bh;
  widen(a, &al, &ah), widen(b, &bl, &bh);
  *low = (v16u)(al + bl), *high = (v16u)(ah + bh);
#endif
}

EDGERUN_SIMD v8 narrow_words(v16 low, v16 high) {
#if defined(EDGERUN_X86)
  return (v8)EDGERUN_X86(packus_epi16, low, high);
#elif defined(EDGERUN_SIMD_NEON)
  return (v8)vcombine_u8(vqmovun_s16((int16x8_t)low), vqmovun_s16((int16x8_t)high));
#else
  v8 y;
  for (int k = 0; k < kBytes; ++k) {
    const int s = k < kWords ? low[k] : high[k - kWords];
    y[k] = static_cast<uint8_t>(s > 255 ? 255 : s < 0 ? 0 : s);
  }
  return y;
#endif
}

// Words from 0 to 65535.
EDGERUN_SIMD void widen_unsigned_words(v16 a, vi* low, vi* high) {
#if defined(EDGERUN_X86)
  *low = (vi)EDGERUN_X86(unpacklo_epi16, a, v16{}), *high = (vi)EDGERUN_X86(unpackhi_epi16, a, v16{});
#else
  v16_half l, h;
  halves(a, &l, &h);
  *low = __builtin_convertvector(l, vi) & 0xffff, *high = __builtin_convertvector(h, vi) & 0xffff;
#endif
}

// The lanes of a byte vector as widen and then widen_words leave them.
EDGERUN_SIMD void widen_to_ints(v8 a, vi* quarters) {
  v16 low, high;
  widen(a, &low, &high);
  widen_unsigned_words(low, &quarters[0], &quarters[1]);
  widen_unsigned_words(high, &quarters[2], &quarters[3]);
}

EDGERUN_SIMD v16 narrow_ints(vi low, vi high) {
#if defined(EDGERUN_X86)
  return (v16)EDGERUN_X86(packs_epi32, low, high);
#elif defined(EDGERUN_SIMD_NEON)
  return (v16)vcombine_s16(vqmovn_s32((int32x4_t)low), vqmovn_s32((int32x4_t)high));
#else
  v16 y;
  for (int k = 0; k < kWords; ++k) {
    const int32_t s = k < kLanes ? low[k] : high[k - kLanes];
    y[k] = static_cast<int16_t>(s > INT16_MAX ? INT16_MAX : s < INT16_MIN ? INT16_MIN : s);
  }
  return y;
#endif
}

EDGERUN_SIMD v16 narrow_ints_in_order(vi a, vi b) {
  const v16 y = narrow_ints(a, b);
#if defined(EDGERUN_SIMD_AVX512)
  const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  return (v16)_mm512_maskz_permutexvar_epi64(0xff, order, (__m512i)y);
#elif defined(EDGERUN_SIMD_AVX2)
  return (v16)_mm256_permute4x64_epi64((__m256i)y, 0xd8);
#else
  return y;
#endif
}
EDGERUN_SIMD v8 narrow_ints_in_order(vi a, vi b, vi c, vi d) {
  const v8 y = narrow_words(narrow_ints(a, b), narrow_ints(c, d));
#if defined(EDGERUN_SIMD_AVX512)
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return (v8)_mm512_maskz_permutexvar_epi32(0xffff, order, (__m512i)y);
#elif defined(EDGERUN_SIMD_AVX2)
  return (v8)_mm256_permutevar8x32_epi32((__m256i)y, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#else
  return y;
#endif
}

// a b of int16, as int32 in the order of widen_unsigned_words.
EDGERUN_SIMD void multiply_words(v16 a, v16 b, vi* low, vi* high) {
#if defined(EDGERUN_X86)
  const v16 l = (v16)((v16u)a * (v16u)b), h = (v16)EDGERUN_X86(mulhi_epi16, a, b);
  *low = (vi)EDGERUN_X86(unpacklo_epi16, l, h), *high = (vi)EDGERUN_X86(unpackhi_epi16, l, h);
#elif defined(EDGERUN_SIMD_NEON)
  *low = (vi)vmull_s16(vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b));
  *high = (vi)vmull_s16(vget_high_s16((int16x8_t)a), vget_high_s16((int16x8_t)b));
#else
  v16_half al, ah, bl, bh;
  halves(a, &al, &ah), halves(b, &bl, &bh);
  *low = __builtin_convertvector(al, vi) * __builtin_convertvector(bl, vi);
  *high = __builtin_convertvector(ah, vi) * __builtin_convertvector(bh, vi);
#endif
}

EDGERUN_ISA_END
