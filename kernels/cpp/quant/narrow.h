// int32 lanes to clamped bytes.
#pragma once
#include "quant/fixed_point.h"

EDGERUN_ISA_BEGIN

// y = clamp(v + zero, low, high) as int8 or uint8; low and high lie in the range of that type.
struct Narrow {
  int32_t zero, low, high;
  bool is_signed;
};

// Lanes of rescale with left = 0, plus the zero point; factor: factor_of(m) of every lane. AVX2 and AVX-512 give lanes 0 2 1 3, 4 6 5 7, … and
// lower unsigned results by 128, NEON leaves the zero point out, which is a few instructions less: Narrower expects that.
struct Rescale {
#if defined(EDGERUN_SIMD_AVX512)
  __m512i half;
  EDGERUN_INLINE explicit Rescale(const Narrow& n)
      : half(_mm512_set1_epi64((int64_t{n.zero - (n.is_signed ? 0 : 128)} * 2 + 1) * (int64_t{1} << 31))) {}
  EDGERUN_INLINE vi operator()(vi t, vi factor) const {
    const __m512i a = reinterpret_cast<__m512i>(t), f = reinterpret_cast<__m512i>(factor);
    const __m512i a1 = _mm512_maskz_srli_epi64(0xff, a, 32), f1 = _mm512_maskz_srli_epi64(0xff, f, 32);
    const __m512i even = _mm512_add_epi64(_mm512_maskz_mul_epi32(0xff, a, f), half);
    const __m512i odd = _mm512_add_epi64(_mm512_maskz_mul_epi32(0xff, a1, f1), half);
    return reinterpret_cast<vi>(_mm512_maskz_shuffle_ps(0xffff, _mm512_castsi512_ps(even), _mm512_castsi512_ps(odd), 0xdd));
  }
#elif defined(EDGERUN_SIMD_AVX2)
  __m256i half;
  EDGERUN_INLINE explicit Rescale(const Narrow& n)
      : half(_mm256_set1_epi64x((int64_t{n.zero - (n.is_signed ? 0 : 128)} * 2 + 1) * (int64_t{1} << 31))) {}
  EDGERUN_INLINE vi operator()(vi t, vi factor) const {
    const __m256i a = reinterpret_cast<__m256i>(t), f = reinterpret_cast<__m256i>(factor);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(a, f), half);
    const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(f, 32)), half);
    return reinterpret_cast<vi>(_mm256_shuffle_ps(_mm256_castsi256_ps(even), _mm256_castsi256_ps(odd), 0xdd));
  }
#elif defined(EDGERUN_SIMD_NEON)
  EDGERUN_INLINE explicit Rescale(const Narrow&) {}
  EDGERUN_INLINE vi operator()(vi t, vi factor) const { return rescale(t, factor); }
#else
  vi zero;
  EDGERUN_INLINE explicit Rescale(const Narrow& n) : zero(broadcast_int(n.zero)) {}
  EDGERUN_INLINE vi operator()(vi t, vi factor) const { return rescale(t, factor) + zero; }
#endif
};

// Stores the results of Rescale as bytes. `lone` takes one vector, `pair` two that belong side by side, `quad` two
// pairs; n: how many bytes of each are stored.
struct Narrower {
#if defined(EDGERUN_SIMD_AVX512)
  __m512i low, high, flip;  // bytes are signed until the end

  EDGERUN_INLINE explicit Narrower(const Narrow& n) {
    const int32_t down = n.is_signed ? 0 : 128;
    low = _mm512_set1_epi8(static_cast<char>(n.low - down)), high = _mm512_set1_epi8(static_cast<char>(n.high - down));
    flip = _mm512_set1_epi8(static_cast<char>(down));
  }
  EDGERUN_INLINE __m512i bytes(vi a, vi b, vi c, vi d) const {  // one after the other
    const __m512i order = _mm512_maskz_broadcast_i32x4(0xffff, _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15));
    const __m512i ab = _mm512_packs_epi32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b));
    const __m512i cd = _mm512_packs_epi32(reinterpret_cast<__m512i>(c), reinterpret_cast<__m512i>(d));
    __m512i y = _mm512_packs_epi16(ab, cd);
    y = _mm512_xor_si512(_mm512_maskz_max_epi8(~0ull, _mm512_maskz_min_epi8(~0ull, y, high), low), flip);
    const __m512i quads = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_maskz_permutexvar_epi32(0xffff, quads, _mm512_maskz_shuffle_epi8(~0ull, y, order));
  }
  template <int kQuarter> static EDGERUN_INLINE __m128i quarter(__m512i bytes) { return _mm512_maskz_extracti32x4_epi32(0xf, bytes, kQuarter); }
  template <int kHalf> static EDGERUN_INLINE __m256i half(__m512i bytes) { return _mm512_maskz_extracti64x4_epi64(0xf, bytes, kHalf); }
  static EDGERUN_INLINE void put(__m128i bytes, uint8_t* out, int n) {
    if (EDGERUN_LIKELY(n == 16)) return _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    if (n & 8) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
      if (n == 8) return;
      bytes = _mm_srli_si128(bytes, 8), out += 8;
    }
    uint64_t rest;
    _mm_storel_epi64(reinterpret_cast<__m128i*>(&rest), bytes);
    if (n & 4) __builtin_memcpy(out, &rest, 4), rest >>= 32, out += 4;
    if (n & 2) __builtin_memcpy(out, &rest, 2), rest >>= 16, out += 2;
    if (n & 1) *out = static_cast<uint8_t>(rest);
  }
  static EDGERUN_INLINE void put(__m256i bytes, uint8_t* out, int n) {
    if (EDGERUN_LIKELY(n == 32)) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
    const __m128i first = _mm256_castsi256_si128(bytes);
    put(first, out, n < 16 ? n : 16);
    if (n > 16) put(_mm256_extracti128_si256(bytes, 1), out + 16, n - 16);
  }
  EDGERUN_INLINE void lone(vi a, uint8_t* out, int n) const { put(quarter<0>(bytes(a, a, a, a)), out, n); }
  // Four that belong to rows below each other.
  EDGERUN_INLINE void four(vi a, vi b, vi c, vi d, uint8_t* out, int64_t ldc, int n) const {
    const __m512i y = bytes(a, b, c, d);
    put(quarter<0>(y), out, n), put(quarter<1>(y), out + ldc, n), put(quarter<2>(y), out + 2 * ldc, n), put(quarter<3>(y), out + 3 * ldc, n);
  }
  EDGERUN_INLINE void pair(vi a, vi b, uint8_t* out, int n) const { put(half<0>(bytes(a, b, a, b)), out, n); }
  EDGERUN_INLINE void quad(vi a, vi b, uint8_t* out, vi c, vi d, uint8_t* next, int n) const {
    const __m512i y = bytes(a, b, c, d);
    put(half<0>(y), out, n);
    put(half<1>(y), next, n);
  }
#elif defined(EDGERUN_SIMD_AVX2)
  __m256i low, high, flip;  // bytes are signed until the end

  EDGERUN_INLINE explicit Narrower(const Narrow& n) {
    const int32_t down = n.is_signed ? 0 : 128;
    low = _mm256_set1_epi8(static_cast<char>(n.low - down)), high = _mm256_set1_epi8(static_cast<char>(n.high - down));
    flip = _mm256_set1_epi8(static_cast<char>(down));
  }
  EDGERUN_INLINE __m256i bytes(vi a, vi b, vi c, vi d) const {  // a b, then c d
    const __m256i order = _mm256_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15, 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12,
                                           14, 13, 15);
    const __m256i ab = _mm256_packs_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b));
    const __m256i cd = _mm256_packs_epi32(reinterpret_cast<__m256i>(c), reinterpret_cast<__m256i>(d));
    __m256i y = _mm256_packs_epi16(ab, cd);
    y = _mm256_xor_si256(_mm256_max_epi8(_mm256_min_epi8(y, high), low), flip);
    return _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(y, order), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  }
  static EDGERUN_INLINE void put(__m128i bytes, uint8_t* out, int n) {
    if (EDGERUN_LIKELY(n == 16)) return _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    if (EDGERUN_LIKELY(n == 8)) return _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
    alignas(16) uint8_t all[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes);
    for (int k = 0; k < n; ++k) out[k] = all[k];
  }
  EDGERUN_INLINE void lone(vi a, uint8_t* out, int n) const { put(_mm256_castsi256_si128(bytes(a, a, a, a)), out, n); }
  EDGERUN_INLINE void pair(vi a, vi b, uint8_t* out, int n) const { put(_mm256_castsi256_si128(bytes(a, b, a, b)), out, n); }
  EDGERUN_INLINE void quad(vi a, vi b, uint8_t* out, vi c, vi d, uint8_t* next, int n) const {
    const __m256i y = bytes(a, b, c, d);
    put(_mm256_castsi256_si128(y), out, n);
    put(_mm256_extracti128_si256(y, 1), next, n);
  }
#elif defined(EDGERUN_SIMD_NEON)
  int16x8_t zero;
  int8x16_t low, high, flip;  // bytes are signed until the end

  EDGERUN_INLINE explicit Narrower(const Narrow& n) {
    const int32_t down = n.is_signed ? 0 : 128;
    zero = vdupq_n_s16(static_cast<int16_t>(n.zero - down));
    low = vdupq_n_s8(static_cast<int8_t>(n.low - down)), high = vdupq_n_s8(static_cast<int8_t>(n.high - down));
    flip = vdupq_n_s8(static_cast<int8_t>(down));
  }
  EDGERUN_INLINE int8x8_t bytes(vi a, vi b) const {  // saturating on the way changes nothing: low and high are bytes
    return vqmovn_s16(vqaddq_s16(vcombine_s16(vqmovn_s32((int32x4_t)a), vqmovn_s32((int32x4_t)b)), zero));
  }
  EDGERUN_INLINE int8x16_t bounded(int8x8_t a, int8x8_t b) const {
    return veorq_s8(vmaxq_s8(vminq_s8(vcombine_s8(a, b), high), low), flip);
  }
  static EDGERUN_INLINE void put(int8x8_t bytes, uint8_t* out, int n) {
    if (EDGERUN_LIKELY(n == 8)) return vst1_u8(out, vreinterpret_u8_s8(bytes));
    uint64_t all = vget_lane_u64(vreinterpret_u64_s8(bytes), 0);
    if (n & 4) __builtin_memcpy(out, &all, 4), all >>= 32, out += 4;
    if (n & 2) __builtin_memcpy(out, &all, 2), all >>= 16, out += 2;
    if (n & 1) *out = static_cast<uint8_t>(all);
  }
  EDGERUN_INLINE void lone(vi a, uint8_t* out, int n) const { pair(a, a, out, n); }
  EDGERUN_INLINE void pair(vi a, vi b, uint8_t* out, int n) const {
    const int8x8_t y = bytes(a, b);
    put(vget_low_s8(bounded(y, y)), out, n);
  }
  EDGERUN_INLINE void quad(vi a, vi b, uint8_t* out, vi c, vi d, uint8_t* next, int n) const {
    const int8x16_t y = bounded(bytes(a, b), bytes(c, d));
    put(vget_low_s8(y), out, n);
    put(vget_high_s8(y), next, n);
  }
#else
  vi low, high;

  EDGERUN_INLINE explicit Narrower(const Narrow& n) : low(broadcast_int(n.low)), high(broadcast_int(n.high)) {}
  EDGERUN_INLINE void lone(vi a, uint8_t* out, int n) const {
    const vi y = max_int(min_int(a, high), low);
    for (int k = 0; k < kLanes; ++k)
      if (k < n) out[k] = static_cast<uint8_t>(y[k]);
  }
  EDGERUN_INLINE void pair(vi a, vi b, uint8_t* out, int n) const {
    lone(a, out, n < kLanes ? n : kLanes);
    if (n > kLanes) lone(b, out + kLanes, n - kLanes);
  }
  EDGERUN_INLINE void quad(vi a, vi b, uint8_t* out, vi c, vi d, uint8_t* next, int n) const {
    pair(a, b, out, n);
    pair(c, d, next, n);
  }
#endif
};

// Rescaled rows to bytes at c.
template <int kRows, int kVectors>
EDGERUN_SIMD void narrow_rows(const vi (&acc)[kRows][kVectors], const Narrower& narrow, uint8_t* c, int64_t ldc, int columns) {
  if constexpr (kVectors == 1) {
    int r = 0;
#if defined(EDGERUN_SIMD_AVX512)
#pragma GCC unroll 8
    for (; r + 4 <= kRows; r += 4) narrow.four(acc[r][0], acc[r + 1][0], acc[r + 2][0], acc[r + 3][0], c + r * ldc, ldc, columns);
#endif
#pragma GCC unroll 8
    for (; r < kRows; ++r) narrow.lone(acc[r][0], c + r * ldc, columns);
  } else {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; v += 2) {
      const int n = columns - v * kLanes < 2 * kLanes ? columns - v * kLanes : 2 * kLanes;
      uint8_t* at = c + v * kLanes;
#pragma GCC unroll 8
      for (int r = 0; r + 1 < kRows; r += 2)
        narrow.quad(acc[r][v], acc[r][v + 1], at + r * ldc, acc[r + 1][v], acc[r + 1][v + 1], at + (r + 1) * ldc, n);
      if constexpr (kRows % 2 == 1) narrow.pair(acc[kRows - 1][v], acc[kRows - 1][v + 1], at + (kRows - 1) * ldc, n);
    }
  }
}

// Sums of kRows rows x kVectors vectors of columns to bytes at c (ldc: bytes between rows), `columns` of them in each row. shifts: null
// where no column shifts.
template <int kRows, int kVectors>
EDGERUN_SIMD void store_rescaled(vi (&acc)[kRows][kVectors], const int32_t* factors, const int32_t* shifts, const Rescale& rescale,
                                 const Narrower& narrow, uint8_t* c, int64_t ldc, int columns) {
  if (EDGERUN_UNLIKELY(shifts != nullptr))
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) acc[r][v] = shift_left_limited(acc[r][v], loadu_int(shifts + v * kLanes));
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    const vi factor = loadu_int(factors + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) acc[r][v] = rescale(acc[r][v], factor);
  }
#if defined(EDGERUN_SIMD_NEON)  // whole rows in one piece, others by way of a copy: less code than a choice in each row
  constexpr int kWidth = kVectors * kLanes;
  if (EDGERUN_UNLIKELY(columns < kWidth)) {
    uint8_t copy[kRows * kWidth];
    narrow_rows(acc, narrow, copy, kWidth, kWidth);
    for (int r = 0; r < kRows; ++r)
      for (int k = 0; k < columns; ++k) c[r * ldc + k] = copy[r * kWidth + k];
    return;
  }
  columns = kWidth;
#endif
  narrow_rows(acc, narrow, c, ldc, columns);
}

EDGERUN_ISA_END
