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

}  // namespace

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
