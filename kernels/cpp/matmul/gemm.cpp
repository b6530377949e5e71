// The tiles of every shape, compiled once for all kernels that multiply.
#include "matmul/gemm.h"
#include "matmul/tile.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int kInLockstep = 4;                    // vectors, to hide the latency of exp and division
inline constexpr int64_t kFoldEvery = 8 * kInLockstep * kLanes;

using TileFn = void (*)(const Product&, const float* const*, int64_t, int64_t);

TileFn full_tile(int64_t rows) {
  switch (rows) {
    case 1: return tile<1, kPanelVectors, 1>;
    case 2: return tile<2, kPanelVectors, 1>;
    case 3: return tile<3, kPanelVectors, 1>;
    case 4: return tile<4, kPanelVectors, 1>;
    default: break;
  }
  if constexpr (kTileRows > 4) {
    if (rows == 5) return tile<5, kPanelVectors, 1>;
    if (rows == 6) return tile<6, kPanelVectors, 1>;
  }
  if constexpr (kTileRows > 6) {
    if (rows == 7) return tile<7, kPanelVectors, 1>;
    if (rows == 8) return tile<8, kPanelVectors, 1>;
  }
  return nullptr;
}

TileFn narrow_tile(int64_t rows) {
  switch (rows) {
    case 1: return tile<1, 1, 1>;
    case 2: return tile<2, 1, 1>;
    case 3: return tile<3, 1, 1>;
    case 4: return tile<4, 1, 1>;
    case 5: return tile<5, 1, 1>;
    case 6: return tile<6, 1, 1>;
    case 7: return tile<7, 1, 1>;
    default: return tile<8, 1, 1>;
  }
}


template <int kCode, bool kChecked>
void finish_rows(const Product& g, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  const ActVectors p(g.act);
  const bool armed = kChecked && g.fault_row >= row && g.fault_row < row + rows;
  if (columns == g.ldc && !armed) columns *= rows, rows = rows > 0;  // one contiguous run
  for (int64_t i = row; i < row + rows; ++i) {
    for (int64_t from = 0; from < columns; from += kFoldEvery) {
      Checker seen;
      const int64_t count = least(kFoldEvery, columns - from), flat = g.flat + i * g.ldc + column + from;
      float* c = g.c + i * g.ldc + column + from;
      int64_t k = 0;
      if (EDGERUN_LIKELY(!armed)) {
        for (; k + kInLockstep * kLanes <= count; k += kInLockstep * kLanes) {
          vf x[kInLockstep];
          for (int j = 0; j < kInLockstep; ++j) x[j] = loadu(c + k + j * kLanes);
          activate_pack<kCode, kChecked>(x, p, seen);
          for (int j = 0; j < kInLockstep; ++j) storeu(c + k + j * kLanes, x[j]);
        }
        for (; k + kLanes <= count; k += kLanes) storeu(c + k, activate<kCode, kChecked>(loadu(c + k), p, seen));
      }
      for (; k < count; k += kLanes) {
        const int n = static_cast<int>(least(kLanes, count - k));
        const vi flip = armed ? fault_lanes(g.sink, flat + k) & first_lanes(n) : vi{};
        store_partial(c + k, activate<kCode, kChecked>(load_partial(c + k, n), p, seen, flip), n);
      }
      if (kChecked) fold(seen, g.sink, flat, 0);
    }
  }
}

}  // namespace

void finish_tile(const Product& g, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  with_activation(g.act.code, [&](auto code) __attribute__((always_inline)) {
    if (g.sink) finish_rows<decltype(code)::value, true>(g, row, column, rows, columns);
    else finish_rows<decltype(code)::value, false>(g, row, column, rows, columns);
  });
}

void multiply(Product g, const float* const* rows, int64_t row, int64_t m, int64_t first, int64_t last,
              bool b_packed) {
  int64_t p = first;
  if (m <= 3) {  // several panels at once, or too few accumulators would wait for each other
    const int64_t whole = first + (least(g.columns / kPanel, last) - first);
    if (m == 1)
      for (; p + 4 <= whole; p += 4) tile<1, kPanelVectors, 4>(g, rows, row, p * kPanel);
    for (; p + 2 <= whole; p += 2) {
      const TileFn wide = m == 1 ? tile<1, kPanelVectors, 2> : m == 2 ? tile<2, kPanelVectors, 2> : tile<3, kPanelVectors, 2>;
      wide(g, rows, row, p * kPanel);
    }
  }
  for (; p < last; ++p) {
    const bool narrow = b_packed && panel_width(g.columns, p) == kLanes;
    const int64_t step = narrow ? kNarrowRows : kTileRows;
    if (narrow) g.b_row = kLanes;
    const TileFn whole = narrow ? narrow_tile(step) : full_tile(step);
    int64_t i = 0;
    for (; i + step <= m; i += step) whole(g, rows + i, row + i, p * kPanel);
    if (i < m) (narrow ? narrow_tile(m - i) : full_tile(m - i))(g, rows + i, row + i, p * kPanel);
  }
}

EDGERUN_ISA_END
