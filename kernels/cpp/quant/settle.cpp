// What comes after a tile of an int8 product has been stored: faults in what rescaling made of its sums, and the check of rescaling.
//
// The check: a byte y must be clamp(t M + zero, low, high) up to rounding, t being its sum and M = m 2^(left - 31), computed in
// float32 where the kernel computes in fixed point. rescale rounds to the nearest integer, so the difference is at most 1/2 and what
// float32 adds: while t M is within reach of a byte, |t M| <= 257, five roundings of 2^-24 each, less than 2^-13. Beyond it, both are
// at the same bound. Bytes are read back from where they were stored, so narrowing and storing are verified, too.
//
// The quick way rounds t M + zero to a byte itself and compares. Where float32 falls on the other side of a half, one in some ten thousand
// times, and where something is wrong, the tile goes the exact way.
#include "quant/igemm.h"
#include "quant/lanes.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr float kRescaleBound = 0.5f + 1.f / 4096;
#if defined(EDGERUN_SIMD_NEON)
inline constexpr float kFactorUnit = 1.f / (1u << 31);
#else
inline constexpr float kFactorUnit = 1.f / (1ull << 32);
#endif

int32_t shifted(int32_t t, int32_t left) {
  const int32_t most = INT32_MAX >> left;
  return static_cast<int32_t>(static_cast<uint32_t>(t > most ? most : t < -most ? -most : t) << left);
}

// rescale of fixed_point.h, one value.
int32_t rescaled(const IntProduct& g, int32_t t, int64_t column) {
  const int64_t twice = int64_t{g.factor[column]} * (factor_of(1) == 1 ? 2 : 1);
  if (g.left) t = shifted(t, g.left[column]);
  return static_cast<int32_t>((t * twice + (int64_t{1} << 31)) >> 32);
}

// M of each column, and the largest sum that shifting left leaves in range.
EDGERUN_SIMD vf factor_at(const IntProduct& g, int64_t column) {
  const vf factor = mul(to_float(loadu_int(g.factor + column)), broadcast(kFactorUnit));
  return g.left ? mul(factor, exp2_int(loadu_int(g.left + column))) : factor;
}
EDGERUN_SIMD vf most_at(const IntProduct& g, int64_t column) {
  return g.left ? sub(exp2_int(31 - loadu_int(g.left + column)), broadcast(1.f)) : vf{};
}

EDGERUN_NOINLINE __attribute__((cold)) void verify_exactly(const IntProduct& g, const KeptSums& kept, const TilePlace& at) {
  const uint8_t* c = static_cast<const uint8_t*>(g.c);
  for (int64_t r = 0; r < at.rows; ++r)
    for (int64_t k = 0; k < at.columns; ++k) {
      const int64_t v = k / kLanes * kLanes, here = (at.row + r) * g.ldc + at.column + k;
      vf t = to_float(loadu_int(kept.sums + r * kept.row + k / kLanes * kept.vector));
      if (g.left) t = min(max(t, neg(most_at(g, at.column + v))), most_at(g, at.column + v));
      const float real = fma(t, factor_at(g, at.column + v), broadcast(static_cast<float>(g.narrow.zero)))[k % kLanes];
      const float low = static_cast<float>(g.narrow.low), high = static_cast<float>(g.narrow.high);
      const float want = real < low ? low : real > high ? high : real;
      const float got = g.narrow.is_signed ? static_cast<float>(static_cast<int8_t>(c[here])) : static_cast<float>(c[here]);
      if (!(__builtin_fabsf(got - want) <= kRescaleBound)) return report(g.sink, kRequantised, g.flat + here, got, want, kRescaleBound);
    }
}

// The bytes of kBytes / (kWide kLanes) rows, one after the other, of which n in each exist; the others are as in `want`.
template <int kWide>
EDGERUN_SIMD v8 load_rows(const uint8_t* const* rows, int n, v8 want) {
  constexpr int kWidth = kWide * kLanes, kRows = kBytes / kWidth, kUnit = kWidth < 8 ? kWidth : 8;
  typedef __UINT32_TYPE__ few __attribute__((vector_size(kBytes)));
  typedef __UINT64_TYPE__ many __attribute__((vector_size(kBytes)));
  if (EDGERUN_UNLIKELY(n < kWidth)) {
    uint8_t all[kBytes];
    storeu_bytes(all, want);
    for (int r = 0; r < kRows; ++r)
      for (int k = 0; k < n; ++k) all[r * kWidth + k] = rows[r][k];
    return loadu_bytes(all);
  }
  if constexpr (kUnit == 4) {
    few y{};
    for (int r = 0; r < kRows; ++r) {
      uint32_t part;
      __builtin_memcpy(&part, rows[r], 4);
      y[r] = part;
    }
    return (v8)y;
  } else {
    many y{};
    for (int k = 0; k < kBytes / 8; ++k) {
      uint64_t part;
      __builtin_memcpy(&part, rows[k * 8 / kWidth] + k * 8 % kWidth, 8);
      y[k] = part;
    }
    return (v8)y;
  }
}

// kWide vectors of columns from `k` on: where bytes are not what rounding in float32 gives.
template <int kWide, bool kShifts>
EDGERUN_SIMD v8 differences(const IntProduct& g, const KeptSums& kept, const TilePlace& at, int64_t k) {
  constexpr int kRows = 4 / kWide;
  const uint8_t flip = g.narrow.is_signed ? 0x80 : 0;  // bytes as 0 to 255, so that truncating rounds down
  const v8 flips = broadcast_byte(flip), low = broadcast_byte(static_cast<uint8_t>(g.narrow.low + flip));
  const v8 high = broadcast_byte(static_cast<uint8_t>(g.narrow.high + flip));
  const vf half = broadcast(static_cast<float>(g.narrow.zero + flip) + 0.5f);
  const int n = static_cast<int>(least(kWide * kLanes, at.columns - k));
  const int64_t row = kept.row, vector = kept.vector, ldc = g.ldc;
  const int32_t* sums = kept.sums + k / kLanes * vector;
  const uint8_t* c = static_cast<const uint8_t*>(g.c) + at.row * ldc + at.column + k;
  vf factor[kWide], most[kWide];
#pragma GCC unroll 2
  for (int v = 0; v < kWide; ++v) factor[v] = factor_at(g, at.column + k + v * kLanes), most[v] = most_at(g, at.column + k + v * kLanes);
  v8 wrong{};
  for (int64_t left = at.rows; left > 0; left -= kRows, sums += kRows * row, c += kRows * ldc) {
    vi q[4];
    const uint8_t* rows[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const int64_t here = EDGERUN_LIKELY(r < left) ? r : 0;  // a row that does not exist: the first one again
      rows[r] = c + here * ldc;
#pragma GCC unroll 2
      for (int v = 0; v < kWide; ++v) {
        vf t = to_float(loadu_int(sums + here * row + v * vector));
        if (kShifts) t = min(max(t, neg(most[v])), most[v]);
        q[r * kWide + v] = truncate_int(fma(t, factor[v], half));
      }
    }
    const v8 want = max_bytes(min_bytes(narrow_ints_in_order(q[0], q[1], q[2], q[3]), high), low) ^ flips;
    wrong |= want ^ load_rows<kWide>(rows, n, want);
  }
  return wrong;
}

template <bool kShifts>
v8 all_differences(const IntProduct& g, const KeptSums& kept, const TilePlace& at) {
  v8 wrong{};
  int64_t k = 0;
  for (; k + kLanes < at.columns; k += 2 * kLanes) wrong |= differences<2, kShifts>(g, kept, at, k);
  if (k < at.columns) wrong |= differences<1, kShifts>(g, kept, at, k);
  return wrong;
}

void verify(const IntProduct& g, const KeptSums& kept, const TilePlace& at) {
  const v8 wrong = g.left ? all_differences<true>(g, kept, at) : all_differences<false>(g, kept, at);
  g.sink->checked += static_cast<uint64_t>(at.rows * at.columns);
  if (EDGERUN_UNLIKELY(any((vi)wrong))) verify_exactly(g, kept, at);
}

}  // namespace

void strike_sum(const IntProduct& g, const KeptSums& kept, const TilePlace& at) {
  if (g.fault->site != FaultSite::accumulator) return;
  const int64_t k = g.fault_column - at.column;
  int32_t& sum = kept.sums[(g.fault_row - at.row) * kept.row + k / kLanes * kept.vector + k % kLanes];
  sum = static_cast<int32_t>(g.fault->strike(static_cast<uint32_t>(sum)));
}

void settle(const IntProduct& g, const KeptSums& kept, const TilePlace& at) {
  if (struck(g, at.row, at.rows, at.column, at.columns)) {
    const int64_t here = g.fault_row * g.ldc + g.fault_column, k = g.fault_column - at.column;
    if (!g.factor) {
      uint32_t& y = static_cast<uint32_t*>(g.c)[here];
      if (g.fault->site == FaultSite::result) y = g.fault->strike(y);
    } else if (g.fault->site == FaultSite::rescaled) {
      const int32_t t = kept.sums[(g.fault_row - at.row) * kept.row + k / kLanes * kept.vector + k % kLanes];
      const int32_t q = static_cast<int32_t>(g.fault->strike(static_cast<uint32_t>(rescaled(g, t, g.fault_column))));
      const int64_t y = int64_t{q} + g.narrow.zero;
      static_cast<uint8_t*>(g.c)[here] = static_cast<uint8_t>(y < g.narrow.low ? g.narrow.low : y > g.narrow.high ? g.narrow.high : y);
    } else if (g.fault->site == FaultSite::result) {
      uint8_t& y = static_cast<uint8_t*>(g.c)[here];
      y = static_cast<uint8_t>(g.fault->strike(y));
    }
  }
  if (g.verify) verify(g, kept, at);
}

EDGERUN_ISA_END
