#include "quant/igemm.h"

EDGERUN_ISA_BEGIN
namespace {

template <bool kNarrow> struct ElementOf { using type = word; };
template <> struct ElementOf<true> { using type = int8_t; };

// kRows x (kPanels panels of kPerPanel vectors) of C in registers.
template <bool kNarrow, int kRows, int kPerPanel, int kPanels>
EDGERUN_NOINLINE void tile(const IntProduct& g, const word* const* rows, int64_t row, int64_t column) {
  using Element = typename ElementOf<kNarrow>::type;
  constexpr int kVectors = kPerPanel * kPanels, kStep = kPerPanel * kLanes * kGroup;
  vi acc[kRows][kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v)
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) acc[r][v] = loadu_int(g.start + column + v * kLanes);

  const Element* b = static_cast<const Element*>(g.b) + column / kPanel * g.b_panel;
  for (int64_t s = 0; s < g.n_segments; ++s) {
    const word* a[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) a[r] = rows[r] + g.segments[s];
    for (int64_t k = 0; k < g.groups; ++k, b += kStep) {
      vw w[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const Element* at = b + v / kPerPanel * g.b_panel + v % kPerPanel * kLanes * kGroup;
        if constexpr (kNarrow) w[v] = load_bytes_as_words(at);
        else w[v] = load_words(at);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const auto x = broadcast_group(a[r] + k * kGroup);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) acc[r][v] = dot(acc[r][v], x, w[v]);
      }
    }
  }

  const int64_t left = g.columns - column;
  const int columns = static_cast<int>(left < kVectors * kLanes ? left : kVectors * kLanes);
  if (!g.factor) {
    int32_t* c = static_cast<int32_t*>(g.c) + row * g.ldc + column;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        if (EDGERUN_LIKELY((v + 1) * kLanes <= columns)) {
          storeu_int(c + r * g.ldc + v * kLanes, acc[r][v]);
          continue;
        }
        for (int k = 0; k < kLanes; ++k)
          if (v * kLanes + k < columns) c[r * g.ldc + v * kLanes + k] = acc[r][v][k];
      }
    return;
  }
  if (EDGERUN_UNLIKELY(g.left != nullptr))
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const vi shift = loadu_int(g.left + column + v * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) acc[r][v] = shift_left_limited(acc[r][v], shift);
    }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    const vi factor = loadu_int(g.factor + column + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) acc[r][v] = rescale(acc[r][v], factor);
  }
  uint8_t* c = static_cast<uint8_t*>(g.c) + row * g.ldc + column;
  const Narrower narrow(g.narrow);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    if constexpr (kVectors == 1) narrow.lone(acc[r][0], c + r * g.ldc, columns);
#pragma GCC unroll 8
    for (int v = 0; v + 1 < kVectors; v += 2) {
      const int n = columns - v * kLanes;
      narrow.pair(acc[r][v], acc[r][v + 1], c + r * g.ldc + v * kLanes, n < 2 * kLanes ? n : 2 * kLanes);
    }
  }
}

using TileFn = void (*)(const IntProduct&, const word* const*, int64_t, int64_t);

template <bool kNarrow>
TileFn full_tile(int64_t rows) {
  constexpr TileFn few[] = {tile<kNarrow, 1, kPanelVectors, 1>, tile<kNarrow, 2, kPanelVectors, 1>, tile<kNarrow, 3, kPanelVectors, 1>,
                            tile<kNarrow, 4, kPanelVectors, 1>};
  if (rows <= 4) return few[rows - 1];
  if constexpr (kTileRows >= 6) {
    if (rows == 5) return tile<kNarrow, 5, kPanelVectors, 1>;
    if (rows == 6) return tile<kNarrow, 6, kPanelVectors, 1>;
  }
  if constexpr (kTileRows >= 8) return rows == 7 ? tile<kNarrow, 7, kPanelVectors, 1> : tile<kNarrow, 8, kPanelVectors, 1>;
  return nullptr;
}

template <bool kNarrow>
TileFn thin_tile(int64_t rows) {
  constexpr TileFn all[] = {tile<kNarrow, 1, 1, 1>, tile<kNarrow, 2, 1, 1>, tile<kNarrow, 3, 1, 1>, tile<kNarrow, 4, 1, 1>,
                            tile<kNarrow, 5, 1, 1>, tile<kNarrow, 6, 1, 1>, tile<kNarrow, 7, 1, 1>, tile<kNarrow, 8, 1, 1>};
  return all[rows - 1];
}

template <bool kNarrow>
void multiply_with(const IntProduct& g, const word* const* rows, int64_t row, int64_t m, int64_t first, int64_t last) {
  int64_t p = first;
  if (m <= 3) {  // several panels at once, or too few accumulators would wait for each other
    const int64_t whole = least(g.columns / kPanel, last);
    if (m == 1)
      for (; p + 4 <= whole; p += 4) tile<kNarrow, 1, kPanelVectors, 4>(g, rows, row, p * kPanel);
    for (; p + 2 <= whole; p += 2) {
      const TileFn wide = m == 1   ? tile<kNarrow, 1, kPanelVectors, 2>
                          : m == 2 ? tile<kNarrow, 2, kPanelVectors, 2>
                                   : tile<kNarrow, 3, kPanelVectors, 2>;
      wide(g, rows, row, p * kPanel);
    }
  }
  for (; p < last; ++p) {
    const bool thin = panel_width(g.columns, p) == kLanes;
    const int64_t step = thin ? kNarrowRows : kTileRows;
    const TileFn whole = thin ? thin_tile<kNarrow>(step) : full_tile<kNarrow>(step);
    int64_t i = 0;
    for (; i + step <= m; i += step) whole(g, rows + i, row + i, p * kPanel);
    if (i < m) (thin ? thin_tile<kNarrow>(m - i) : full_tile<kNarrow>(m - i))(g, rows + i, row + i, p * kPanel);
  }
}

}  // namespace

void int_multiply(const IntProduct& g, const word* const* rows, int64_t row, int64_t m, int64_t first, int64_t last) {
  if (g.narrow_b) multiply_with<true>(g, rows, row, m, first, last);
  else multiply_with<false>(g, rows, row, m, first, last);
}

EDGERUN_ISA_END
