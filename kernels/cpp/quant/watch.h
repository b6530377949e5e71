// What is done with a tile's sums beside rescaling and storing them: faults, the checksum, the check of rescaling.
//
// That check: a byte y must be clamp(t M + zero, low, high) up to rounding, t being its sum and M = m 2^(left - 31), computed in
// float32 where the kernel computes in fixed point. rescale rounds to the nearest integer, so the difference is at most 1/2 and what
// float32 adds: while t M is within reach of a byte, |t M| <= 257, five roundings of 2^-24 each, less than 2^-13. Beyond it, both are
// at the same bound. Bytes are read back from where they were stored, so narrowing and storing are verified, too.
//
// The quick way: float32 foretells the byte while the sums are in registers. Where it falls on the other side of a half, one in some ten
// thousand times, and where something is wrong, the tile's sums are computed once more (IntProduct::exactly) and held against the bytes
// with that bound. A column whose weights are all zero may lie on a half in every row: from the first such tile on, sums are kept.
#pragma once
#include "quant/igemm.h"
#include "quant/lanes.h"

EDGERUN_ISA_BEGIN

// Sums in memory: of row r and vector v at sums + r * row + v * vector.
struct KeptSums {
  int32_t* sums;
  int64_t row, vector;
};
// Where in C they belong.
struct TilePlace {
  int64_t row, column, rows, columns;
};
// A fault in an accumulator, before it goes anywhere.
void strike_sum(const IntProduct& g, const KeptSums& kept, const TilePlace& at);
// After a tile has been stored: a fault in what rescaling made of its sums, or in the result.
void strike_stored(const IntProduct& g, const KeptSums& kept, const TilePlace& at);
void verify_exactly(const IntProduct& g, const KeptSums& kept, const TilePlace& at);

#if defined(EDGERUN_SIMD_NEON)
inline constexpr float kFactorUnit = 1.f / (1u << 31);
#else
inline constexpr float kFactorUnit = 1.f / (1ull << 32);
#endif
// M of the columns from `column` on.
EDGERUN_SIMD vf factor_at(const IntProduct& g, int64_t column) {
  const vf factor = mul(to_float(loadu_int(g.factor + column)), broadcast(kFactorUnit));
  return g.left ? mul(factor, exp2_int(loadu_int(g.left + column))) : factor;
}

typedef uint64_t v64 __attribute__((vector_size(kBytes)));

// kCount rows of kWidth bytes below each other, the first at c, as a vector that holds kBytes / kWidth: the last fills what is missing.
template <int kWidth, int kCount>
EDGERUN_SIMD v8 load_rows(const uint8_t* c, int64_t ldc) {
  const auto row = [&](int r, auto piece) __attribute__((always_inline)) {
    __builtin_memcpy(&piece, c + (r < kCount ? r : kCount - 1) * ldc, sizeof piece);
    return piece;
  };
#if defined(EDGERUN_SIMD_AVX512)
  if constexpr (kWidth == 32)
    return (v8)_mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(row(0, __m256i{})), row(1, __m256i{}), 1);
  if constexpr (kWidth == 16) {
    __m512i y = _mm512_maskz_inserti32x4(0xffff, _mm512_castsi128_si512(row(0, __m128i{})), row(1, __m128i{}), 1);
    y = _mm512_maskz_inserti32x4(0xffff, y, row(2, __m128i{}), 2);
    return (v8)_mm512_maskz_inserti32x4(0xffff, y, row(3, __m128i{}), 3);
  }
#elif defined(EDGERUN_SIMD_AVX2)
  if constexpr (kWidth == 16) return (v8)_mm256_set_m128i(row(1, __m128i{}), row(0, __m128i{}));
#endif
  if constexpr (kWidth * 2 == kBytes && kWidth == 8) return (v8)v64{row(0, uint64_t{}), row(1, uint64_t{})};
  if constexpr (kWidth * 4 == kBytes && kWidth == 8)
    return (v8)v64{row(0, uint64_t{}), row(1, uint64_t{}), row(2, uint64_t{}), row(3, uint64_t{})};
  if constexpr (kWidth == 4) return (v8)vi{row(0, int32_t{}), row(1, int32_t{}), row(2, int32_t{}), row(3, int32_t{})};
  return loadu_bytes(c);
}

// Whether n bytes, 1 <= n <= 64, are the same.
EDGERUN_SIMD bool same_bytes(const uint8_t* a, const uint8_t* b, int n) {
  const auto differ = [&](auto piece, int at) __attribute__((always_inline)) {
    auto other = piece;
    __builtin_memcpy(&piece, a + at, sizeof piece), __builtin_memcpy(&other, b + at, sizeof piece);
    return piece ^ other;
  };
  uint64_t differs = 0;
  int k = 0;
  for (; k + 8 <= n; k += 8) differs |= differ(uint64_t{}, k);
  if (n & 4) differs |= differ(uint32_t{}, k), k += 4;
  for (; k < n; ++k) differs |= differ(uint8_t{}, k);
  return differs == 0;
}

// Bytes that float32 foretells for kRows x kVectors vectors of sums, row after row, in vectors of as many rows as they hold.
template <int kRows, int kVectors>
struct Foretold {
  static constexpr int kAll = kRows * kVectors, kWidth = kVectors * kLanes, kQuads = (kAll + 3) / 4;
  static constexpr int kHigh = kWidth < kBytes ? kBytes / kWidth : 1;  // rows of a vector
  static constexpr int kWide = kWidth < kBytes ? 1 : kWidth / kBytes;  // vectors of a row
  static constexpr int kRest = kRows % kHigh == 0 ? kHigh : kRows % kHigh;
  static_assert(kBytes == 4 * kLanes && (kVectors < 3 || kVectors % 4 == 0), "a vector of bytes is whole rows, or a row whole vectors");
  v8 bytes[kQuads]{};
  vf factor[kVectors]{}, half{};
  v8 flips{}, low{}, high{};
  bool bounded = false;  // low and high are not those of every byte

  EDGERUN_INLINE Foretold(const IntProduct& g, int64_t column) {
    if (EDGERUN_LIKELY(!g.verify)) return;
    const uint8_t flip = g.narrow.is_signed ? 0x80 : 0;  // as 0 to 255: truncating rounds down, and floats are finest next to 0
    flips = broadcast_byte(flip), low = broadcast_byte(static_cast<uint8_t>(g.narrow.low + flip));
    high = broadcast_byte(static_cast<uint8_t>(g.narrow.high + flip));
    half = broadcast(static_cast<float>(g.narrow.zero + flip) + 0.5f);
    bounded = g.narrow.high - g.narrow.low != 255;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) factor[v] = factor_at(g, column + v * kLanes);
  }
  EDGERUN_INLINE void from(const vi (&acc)[kRows][kVectors]) {
#pragma GCC unroll 8
    for (int i = 0; i < kQuads; ++i) {
      vi q[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        const int at = i * 4 + k, row = at / kVectors < kRows ? at / kVectors : kRows - 1;  // behind the last row: that once more
        q[k] = truncate_int(fma(to_float(acc[row][at % kVectors]), factor[at % kVectors], half));
      }
      bytes[i] = narrow_ints_in_order(q[0], q[1], q[2], q[3]) ^ flips;
    }
    if (EDGERUN_LIKELY(!bounded)) return;
#pragma GCC unroll 8
    for (int i = 0; i < kQuads; ++i) bytes[i] = max_bytes(min_bytes(bytes[i] ^ flips, high), low) ^ flips;
  }
#if defined(EDGERUN_SIMD_AVX512)
  // The same for all rows, by masks.
  EDGERUN_INLINE bool matches_part(const uint8_t* c, int64_t ldc, int columns) const {
    const auto mask = static_cast<uint32_t>((uint64_t{1} << columns) - 1);
    const uint64_t two = mask | uint64_t{mask} << 32, all = kWidth == 32 ? two : two | two << 16;
    const auto row = [&](int r) __attribute__((always_inline)) { return c + (r < kRows ? r : kRows - 1) * ldc; };
    __m512i differs{};
#pragma GCC unroll 8
    for (int i = 0; i < kQuads; ++i) {
      __m512i y{};
      if constexpr (kWidth == 32) {
        y = _mm512_maskz_inserti64x4(0xff, y, _mm256_maskz_loadu_epi8(mask, row(2 * i)), 0);
        y = _mm512_maskz_inserti64x4(0xff, y, _mm256_maskz_loadu_epi8(mask, row(2 * i + 1)), 1);
      } else {
        const auto part = static_cast<__mmask16>(mask);
        y = _mm512_maskz_inserti32x4(0xffff, y, _mm_maskz_loadu_epi8(part, row(4 * i)), 0);
        y = _mm512_maskz_inserti32x4(0xffff, y, _mm_maskz_loadu_epi8(part, row(4 * i + 1)), 1);
        y = _mm512_maskz_inserti32x4(0xffff, y, _mm_maskz_loadu_epi8(part, row(4 * i + 2)), 2);
        y = _mm512_maskz_inserti32x4(0xffff, y, _mm_maskz_loadu_epi8(part, row(4 * i + 3)), 3);
      }
      differs = _mm512_or_si512(differs, _mm512_xor_si512(y, (__m512i)bytes[i]));
    }
    return _mm512_test_epi8_mask(differs, _mm512_maskz_set1_epi8(all, -1)) == 0;
  }
#endif
  // Whether the first `rows` rows at c are these, `columns` bytes of each.
  EDGERUN_INLINE bool matches(const uint8_t* c, int64_t ldc, int rows, int columns) const {
#if defined(EDGERUN_SIMD_AVX512)
    if constexpr (kWidth < kBytes)
      if (EDGERUN_UNLIKELY(columns < kWidth && rows == kRows)) return matches_part(c, ldc, columns);
#endif
    if (EDGERUN_UNLIKELY(columns < kWidth || rows < kRows)) {
      uint8_t all[kQuads * kBytes];
#pragma GCC unroll 8
      for (int i = 0; i < kQuads; ++i) storeu_bytes(all + i * kBytes, bytes[i]);
      bool same = true;
      for (int r = 0; r < rows; ++r) same &= same_bytes(all + r * kWidth, c + r * ldc, columns);
      return same;
    }
    v8 differs{};
#pragma GCC unroll 8
    for (int i = 0; i < kQuads; ++i) {
      const uint8_t* at = c + i * kHigh / kWide * ldc + i % kWide * kBytes;
      const bool whole = kHigh == 1 || (i + 1) * kHigh <= kRows;
      differs |= bytes[i] ^ (whole ? load_rows<kWidth, kHigh>(at, ldc) : load_rows<kWidth, kRest>(at, ldc));
    }
    return !any((vm)differs);
  }
};

// Sums accumulators by lane, for the checksum. Lanes past the last column hold 0.
template <int kRows, int kVectors>
EDGERUN_SIMD void sum_tile(uint32_t* seen, const vi (&acc)[kRows][kVectors]) {
  vu part[2] = {(vu)acc[0][0], vu{}};
#pragma GCC unroll 16
  for (int i = 1; i < kRows * kVectors; ++i) part[i % 2] += (vu)acc[i / kVectors][i % kVectors];
  int32_t* at = reinterpret_cast<int32_t*>(seen);
  storeu_int(at, (vi)((vu)loadu_int(at) + part[0] + part[1]));
}

template <int kRows, int kVectors>
EDGERUN_SIMD void keep(const vi (&acc)[kRows][kVectors], int32_t* kept) {
#pragma GCC unroll 16
  for (int i = 0; i < kRows * kVectors; ++i) storeu_int(kept + i * kLanes, acc[i / kVectors][i % kVectors]);
}
template <int kRows, int kVectors>
EDGERUN_SIMD void restore(const int32_t* kept, vi (&acc)[kRows][kVectors]) {
#pragma GCC unroll 16
  for (int i = 0; i < kRows * kVectors; ++i) acc[i / kVectors][i % kVectors] = loadu_int(kept + i * kLanes);
}

// Of tiles below each other.
template <int kRows, int kVectors>
struct Watch {
  static constexpr int kWidth = kVectors * kLanes;
  Foretold<kRows, kVectors> foretold;
  int32_t* kept;  // room for a tile's sums; not a member, or all members would lie in memory
  int64_t column;
  int columns;
  bool on, hit = false, keeps = false;

  EDGERUN_INLINE Watch(const IntProduct& g, int64_t first, int n, int32_t (&room)[kRows * kWidth])
      : foretold(g, first), kept(room), column(first), columns(n), on(g.seen || g.fault || g.verify) {}
  EDGERUN_INLINE TilePlace place(int64_t row) const { return {row, column, kRows, columns}; }
  // Before a tile's sums are rescaled. False: it is not to be stored.
  EDGERUN_INLINE bool before(const IntProduct& g, int64_t row, vi (&acc)[kRows][kVectors]) {
    hit = struck(g, row, kRows, column, columns);
    if (EDGERUN_UNLIKELY(hit || keeps || g.exactly)) {
      keep(acc, kept);
      if (g.exactly) {
        verify_exactly(g, {kept, kWidth, kLanes}, place(row));
        return false;
      }
      if (hit) {
        strike_sum(g, {kept, kWidth, kLanes}, place(row));
        restore(kept, acc);
      }
    }
    if (g.seen) sum_tile(g.seen, acc);
    if (g.verify) foretold.from(acc);
    return true;
  }
  // After it has been stored at c. False: it has to be verified exactly.
  EDGERUN_INLINE bool after(const IntProduct& g, int64_t row, const uint8_t* c) {
    if (EDGERUN_UNLIKELY(hit)) strike_stored(g, {kept, kWidth, kLanes}, place(row));
    if (!g.verify) return true;
    g.sink->checked += static_cast<uint64_t>(kRows * columns);
    if (EDGERUN_LIKELY(foretold.matches(c, g.ldc, kRows, columns))) return true;
    if (keeps || hit) return verify_exactly(g, {kept, kWidth, kLanes}, place(row)), true;
    keeps = true;
    return false;
  }
};

EDGERUN_SIMD IntProduct exactly(IntProduct g) {
  g.exactly = true;
  g.seen = nullptr, g.fault = nullptr;
  return g;
}

EDGERUN_ISA_END
