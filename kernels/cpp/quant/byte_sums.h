// Sums of bytes over pixels, channel by channel and modulo 2^32: what the exact checksum of an int8 product needs of its input.
#pragma once
#include "quant/lanes.h"

EDGERUN_ISA_BEGIN

inline constexpr int64_t kMostPlaces = 256;        // a sum of so many bytes fits in 16 bits
inline constexpr int64_t kPartBytes = 16 * 1024;   // read before the next part is begun: it stays in L1 for all channels
inline constexpr int64_t kWideSums = 48 * kBytes;  // of places side by side

// Where bytes lie: rows x count places, each of `length` bytes. So many bytes before and after each may be read, too.
struct Places {
  const uint8_t* x;
  int64_t rows, row_stride, count, stride, length;
  int64_t before = 0, after = 0;
};

// Sums of up to kMostPlaces vectors of bytes, int8 or uint8. What an int8 counts too much in every sum: kExcess.
#if defined(EDGERUN_SIMD_AVX512) || defined(EDGERUN_SIMD_AVX2)
template <bool kSigned>
struct ByteSums {  // two vectors at once, their bytes side by side and added by multiplying with ones
  static constexpr int32_t kExcess = 0;
  v16u low{}, high{};

  static EDGERUN_INLINE v16u pairs(vx86 both) {
    const v8 ones = broadcast_byte(1);
    return kSigned ? (v16u)EDGERUN_X86(maddubs_epi16, ones, both) : (v16u)EDGERUN_X86(maddubs_epi16, both, ones);
  }
  EDGERUN_INLINE void add(v8 a, v8 b) {
    low += pairs(EDGERUN_X86(unpacklo_epi8, a, b));
    high += pairs(EDGERUN_X86(unpackhi_epi8, a, b));
  }
  EDGERUN_INLINE void add(v8 a) { add(a, v8{}); }
  EDGERUN_INLINE void widen(vi (&part)[4]) const {
#if defined(EDGERUN_SIMD_AVX512)
    __m128i l[4], h[4];
    __builtin_memcpy(l, &low, 64), __builtin_memcpy(h, &high, 64);
    for (int k = 0; k < 4; ++k) {
      const __m256i both = _mm256_set_m128i(h[k], l[k]);
      part[k] = (vi)(kSigned ? _mm512_maskz_cvtepi16_epi32(0xffff, both) : _mm512_maskz_cvtepu16_epi32(0xffff, both));
    }
#else
    const auto wide = [](__m128i a) __attribute__((always_inline)) {
      return (vi)(kSigned ? _mm256_cvtepi16_epi32(a) : _mm256_cvtepu16_epi32(a));
    };
    part[0] = wide(_mm256_castsi256_si128((__m256i)low)), part[1] = wide(_mm256_castsi256_si128((__m256i)high));
    part[2] = wide(_mm256_extracti128_si256((__m256i)low, 1)), part[3] = wide(_mm256_extracti128_si256((__m256i)high, 1));
#endif
  }
};
#elif defined(EDGERUN_SIMD_NEON)
template <bool kSigned>
struct ByteSums {
  static constexpr int32_t kExcess = 0;
  v16u low{}, high{};

  EDGERUN_INLINE void add(v8 a) {
    if (kSigned) {
      low = (v16u)vaddw_s8((int16x8_t)low, vget_low_s8((int8x16_t)a)), high = (v16u)vaddw_s8((int16x8_t)high, vget_high_s8((int8x16_t)a));
    } else {
      low = (v16u)vaddw_u8((uint16x8_t)low, vget_low_u8((uint8x16_t)a)), high = (v16u)vaddw_u8((uint16x8_t)high, vget_high_u8((uint8x16_t)a));
    }
  }
  EDGERUN_INLINE void add(v8 a, v8 b) { add(a), add(b); }
  static EDGERUN_INLINE void halves(v16u a, vi* out) {
    if (kSigned) {
      out[0] = (vi)vmovl_s16(vget_low_s16((int16x8_t)a)), out[1] = (vi)vmovl_s16(vget_high_s16((int16x8_t)a));
    } else {
      out[0] = (vi)vmovl_u16(vget_low_u16((uint16x8_t)a)), out[1] = (vi)vmovl_u16(vget_high_u16((uint16x8_t)a));
    }
  }
  EDGERUN_INLINE void widen(vi (&part)[4]) const { halves(low, part), halves(high, part + 2); }
};
#else
template <bool kSigned>
struct ByteSums {  // words w = low + 256 high: the sum of all words modulo 2^16 and that of their high bytes give both
  static constexpr int32_t kExcess = kSigned ? 128 : 0;
  v16u words{}, highs{};

  EDGERUN_INLINE void add(v8 a) {
    const v16u w = (v16u)(kSigned ? a ^ broadcast_byte(0x80) : a);
    words += w;
    highs += w >> 8;
  }
  EDGERUN_INLINE void add(v8 a, v8 b) { add(a), add(b); }
  EDGERUN_INLINE void widen(vi (&part)[4]) const {
    const v16u lows = words - (highs << 8);
#if defined(EDGERUN_SIMD_SSE2)
    widen_unsigned_words((v16)_mm_unpacklo_epi16((__m128i)lows, (__m128i)highs), &part[0], &part[1]);
    widen_unsigned_words((v16)_mm_unpackhi_epi16((__m128i)lows, (__m128i)highs), &part[2], &part[3]);
#else
    for (int k = 0; k < 4 * kLanes; ++k) part[k / kLanes][k % kLanes] = k % 2 ? highs[k / 2] : lows[k / 2];
#endif
  }
};
#endif

// The bytes [at, at + kVectors kBytes) of up to kMostPlaces places. kPart: only `part` of the one vector's exist.
template <bool kSigned, int kVectors, bool kPart>
EDGERUN_SIMD void add_columns(const Places& p, int64_t at, int64_t part, uint32_t* sum) {
  ByteSums<kSigned> sums[kVectors];
  const auto load = [&](const uint8_t* x) __attribute__((always_inline)) { return kPart ? load_bytes_partial(x, part) : loadu_bytes(x); };
  for (int64_t r = 0; r < p.rows; ++r) {
    const uint8_t* x = p.x + r * p.row_stride + at;
    int64_t i = 0;
    for (; i + 2 <= p.count; i += 2, x += 2 * p.stride)
#pragma GCC unroll 4
      for (int k = 0; k < kVectors; ++k) sums[k].add(load(x + k * kBytes), load(x + p.stride + k * kBytes));
    if (i == p.count) continue;
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) sums[k].add(load(x + k * kBytes));
  }
  int32_t* to = reinterpret_cast<int32_t*>(sum);
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) {
    vi wide[4];
    sums[k].widen(wide);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) storeu_int(to + (4 * k + i) * kLanes, (vi)((vu)loadu_int(to + (4 * k + i) * kLanes) + (vu)wide[i]));
  }
}

// sum[0..length) += the bytes of up to kMostPlaces places.
template <bool kSigned>
EDGERUN_NOINLINE static void sum_part(const Places& p, uint32_t* sum) {
  int64_t at = 0;
  for (; at + 4 * kBytes <= p.length; at += 4 * kBytes) add_columns<kSigned, 4, false>(p, at, 0, sum + at);
  if (at + 2 * kBytes <= p.length) add_columns<kSigned, 2, false>(p, at, 0, sum + at), at += 2 * kBytes;
  if (at + kBytes <= p.length) add_columns<kSigned, 1, false>(p, at, 0, sum + at), at += kBytes;
  if (at == p.length) return;
  uint32_t last[kBytes] = {};
  const bool backwards = p.before + p.length >= kBytes, whole = backwards || p.length - at + p.after >= kBytes;
  const int64_t from = backwards ? p.length - kBytes : at;  // bytes that are not asked for, or summed already, are left out
  if (whole) add_columns<kSigned, 1, false>(p, from, 0, last);
  else add_columns<kSigned, 1, true>(p, at, p.length - at, last);
  for (; at < p.length; ++at) sum[at] += last[at - from];
}

template <bool kSigned>
static inline void sum_places(Places p, uint32_t* sum) {
  if (p.count == 1) p = {p.x, 1, 0, p.rows, p.row_stride, p.length, p.before, p.after};
  const int64_t most_places = most(32, least(kMostPlaces, kPartBytes / most(p.length, 1)));
  if (p.count * 2 <= most_places) {
    const int64_t rows = most_places / p.count;
    for (int64_t r = 0; r < p.rows; r += rows)
      sum_part<kSigned>({p.x + r * p.row_stride, least(rows, p.rows - r), p.row_stride, p.count, p.stride, p.length, p.before, p.after}, sum);
    return;
  }
  const int64_t parts = ceil_div(p.count, most_places), each = ceil_div(ceil_div(p.count, parts), 2) * 2;
  for (int64_t r = 0; r < p.rows; ++r)
    for (int64_t i = 0; i < p.count; i += each)
      sum_part<kSigned>({p.x + r * p.row_stride + i * p.stride, 1, 0, least(each, p.count - i), p.stride, p.length, p.before, p.after}, sum);
}

// sum[0..length) += the bytes of all places. Places without gaps are joined until they fill whole vectors.
template <bool kSigned>
static inline void sum_bytes(const Places& p, uint32_t* sum) {
  int64_t joined = kBytes;
  while (joined > 1 && p.length * (joined / 2) % kBytes == 0) joined /= 2;
  const int64_t whole = p.count / joined, length = joined * p.length;
  if (joined == 1 || p.stride != p.length || length > kWideSums || whole == 0) return sum_places<kSigned>(p, sum);
  uint32_t wide[kWideSums];
  __builtin_memset(wide, 0, static_cast<size_t>(length) * 4);
  sum_places<kSigned>({p.x, p.rows, p.row_stride, whole, length, length}, wide);
  if (whole * joined < p.count)
    sum_places<kSigned>({p.x + whole * length, p.rows, p.row_stride, 1, 0, (p.count - whole * joined) * p.length}, wide);
  for (int64_t k = 0; k < length; k += p.length)
    for (int64_t i = 0; i < p.length; ++i) sum[i] += wide[k + i];
}

EDGERUN_ISA_END
