// The rare ways of watch.h: faults in sums and results, and the exact check of rescaling.
#include "quant/watch.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr float kRescaleBound = 0.5f + 1.f / 4096;

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

// The largest sum that shifting left leaves in range.
EDGERUN_SIMD vf most_at(const IntProduct& g, int64_t column) { return sub(exp2_int(31 - loadu_int(g.left + column)), broadcast(1.f)); }

// n bytes as int32.
EDGERUN_SIMD vi ints_at(const uint8_t* c, int n, bool is_signed) {
  typedef int8_t few __attribute__((vector_size(kLanes)));
  few y{};
  if (EDGERUN_LIKELY(n == kLanes)) __builtin_memcpy(&y, c, sizeof y);
  else for (int i = 0; i < n; ++i) y[i] = static_cast<int8_t>(c[i]);
  const vi ints = __builtin_convertvector(y, vi);
  return is_signed ? ints : ints & 255;
}

}  // namespace

void verify_exactly(const IntProduct& g, const KeptSums& kept, const TilePlace& at) {
  const uint8_t* c = static_cast<const uint8_t*>(g.c) + at.row * g.ldc + at.column;
  const vf zero = broadcast(static_cast<float>(g.narrow.zero)), low = broadcast(static_cast<float>(g.narrow.low));
  const vf high = broadcast(static_cast<float>(g.narrow.high)), bound = broadcast(kRescaleBound);
  for (int64_t k = 0; k < at.columns; k += kLanes) {
    const int n = static_cast<int>(least(kLanes, at.columns - k));
    const vf factor = factor_at(g, at.column + k), most = g.left ? most_at(g, at.column + k) : broadcast(__builtin_inff());
    for (int64_t r = 0; r < at.rows; ++r) {
      const vf t = to_float(loadu_int(kept.sums + r * kept.row + k / kLanes * kept.vector));
      const vf want = max(min(fma(min(max(t, neg(most)), most), factor, zero), high), low);
      const vf got = to_float(ints_at(c + r * g.ldc + k, n, g.narrow.is_signed));
      const vm wrong = not_less_equal(abs(sub(got, want)), bound) & first_lanes(n);
      if (EDGERUN_LIKELY(!any(wrong))) continue;
      int i = 0;
      while (!wrong[i]) ++i;
      return report(g.sink, kRequantised, g.flat + (at.row + r) * g.ldc + at.column + k + i, got[i], want[i], kRescaleBound);
    }
  }
}

void strike_sum(const IntProduct& g, const KeptSums& kept, const TilePlace& at) {
  if (g.fault->site != FaultSite::accumulator) return;
  const int64_t k = g.fault_column - at.column;
  int32_t& sum = kept.sums[(g.fault_row - at.row) * kept.row + k / kLanes * kept.vector + k % kLanes];
  sum = static_cast<int32_t>(g.fault->strike(static_cast<uint32_t>(sum)));
}

void strike_stored(const IntProduct& g, const KeptSums& kept, const TilePlace& at) {
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

EDGERUN_ISA_END
