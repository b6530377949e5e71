#include "quant/watch.h"

EDGERUN_ISA_BEGIN
namespace {

// A panel's vectors of B for one group of elements of K.
template <class F, int kPerPanel, int kVectors, class W>
EDGERUN_SIMD void load_group(const typename F::B* b, int64_t b_panel, W (&w)[kVectors]) {
  if constexpr (F::kLoadsTwo && kPerPanel == 2) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; v += 2) F::load(b + v / 2 * b_panel, &w[v], &w[v + 1]);
  } else {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) w[v] = F::load(b + v / kPerPanel * b_panel + v % kPerPanel * kLanes * F::kStep);
  }
}

// acc += one of the groups in x times the one at b.
template <class F, int kGroupOfA, int kPerPanel, int kRows, int kVectors, class X>
EDGERUN_SIMD void add_group(const X (&x)[kRows], const typename F::B* b, int64_t b_panel, vi (&acc)[kRows][kVectors]) {
  decltype(F::load(b)) w[kVectors];
  load_group<F, kPerPanel>(b + kGroupOfA * kPerPanel * kLanes * F::kStep, b_panel, w);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) acc[r][v] = F::template multiply_group<kGroupOfA>(acc[r][v], x[r], w[v]);
}

// acc = start + A B for one tile; b: its first panel.
template <class F, int kPerPanel, int kRows, int kVectors>
EDGERUN_SIMD void sums(const IntProduct& g, const void* const* rows, const int32_t* start, const typename F::B* b, vi (&acc)[kRows][kVectors]) {
  constexpr int kStep = kPerPanel * kLanes * F::kStep;
  const int64_t n_segments = g.n_segments, groups = g.groups, b_panel = g.b_panel;
  const int64_t* segments = g.segments;
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v)
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) acc[r][v] = loadu_int(start + v * kLanes);

  for (int64_t s = 0; s < n_segments; ++s) {
    const typename F::A* a[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) a[r] = static_cast<const typename F::A*>(rows[r]) + segments[s];
    int64_t k = 0;
    if constexpr (F::kAtOnce == 4)
      for (; k + 4 <= groups; k += 4, b += 4 * kStep) {
        decltype(F::load_groups(a[0])) x[kRows];
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) x[r] = F::load_groups(a[r] + k * F::kStep);
        add_group<F, 0, kPerPanel>(x, b, b_panel, acc);
        add_group<F, 1, kPerPanel>(x, b, b_panel, acc);
        add_group<F, 2, kPerPanel>(x, b, b_panel, acc);
        add_group<F, 3, kPerPanel>(x, b, b_panel, acc);
      }
    for (; k < groups; ++k, b += kStep) {
      decltype(F::load(b)) w[kVectors];
      load_group<F, kPerPanel>(b, b_panel, w);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const auto x = F::broadcast(a[r] + k * F::kStep);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) acc[r][v] = F::multiply(acc[r][v], x, w[v]);
      }
    }
  }
}

// The same where a product is of two rows and two columns. A last row without a second one is taken twice.
template <class F, int kPerPanel, int kRows, int kVectors>
EDGERUN_SIMD void pair_sums(const IntProduct& g, const void* const* rows, const int32_t* start, const typename F::B* b,
                            vi (&acc)[kRows][kVectors]) {
  constexpr int kHigh = (kRows + 1) / 2, kWide = 2 * kVectors, kPerVector = 2 * F::kStep;
  const int64_t n_segments = g.n_segments, groups = g.groups, b_panel = g.b_panel;
  const int64_t* segments = g.segments;
  vi two[kHigh][kWide];
#pragma GCC unroll 16
  for (int v = 0; v < kWide; ++v)
#pragma GCC unroll 4
    for (int r = 0; r < kHigh; ++r) two[r][v] = F::two_columns(start + 2 * v);

  for (int64_t s = 0; s < n_segments; ++s) {
    const typename F::A* a[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) a[r] = static_cast<const typename F::A*>(rows[r]) + segments[s];
    for (int64_t k = 0; k < groups; ++k, b += kPerPanel * kLanes * F::kStep) {
      decltype(F::load(b)) w[kWide];
#pragma GCC unroll 16
      for (int v = 0; v < kWide; ++v) w[v] = F::load(b + v / (2 * kPerPanel) * b_panel + v % (2 * kPerPanel) * kPerVector);
#pragma GCC unroll 4
      for (int r = 0; r < kHigh; ++r) {
        const auto x = F::load_two(a[2 * r] + k * F::kStep, a[2 * r + 1 < kRows ? 2 * r + 1 : 2 * r] + k * F::kStep);
#pragma GCC unroll 16
        for (int v = 0; v < kWide; ++v) two[r][v] = F::multiply(two[r][v], x, w[v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v)
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
      acc[r][v] = r % 2 == 0 ? F::first_row(two[r / 2][2 * v], two[r / 2][2 * v + 1]) : F::second_row(two[r / 2][2 * v], two[r / 2][2 * v + 1]);
}

// `count` tiles below each other, each kRows x (kPanels panels of kPerPanel vectors) of C in registers.
template <class F, int kRows, int kPerPanel, int kPanels>
EDGERUN_NOINLINE void tiles(const IntProduct& g, const void* const* rows, int64_t row, int64_t column, int64_t count) {
  using B = typename F::B;
  constexpr int kVectors = kPerPanel * kPanels;
  const int64_t left = g.columns - column, ldc = g.ldc;
  const int columns = static_cast<int>(left < kVectors * kLanes ? left : kVectors * kLanes);
  const int32_t *start = g.start + column, *factors = g.factor ? g.factor + column : nullptr;
  const int32_t* shifts = g.left ? g.left + column : nullptr;
  const B* first = static_cast<const B*>(g.b) + column / kPanel * g.b_panel;
  const Rescale rescale(g.narrow);
  const Narrower narrow(g.narrow);
  uint8_t* c = static_cast<uint8_t*>(g.c) + (row * ldc + column) * (factors ? 1 : 4);
  int32_t kept[kRows * kVectors * kLanes];
  Watch<kRows, kVectors> watch(g, column, columns, kept);
  for (; count > 0; --count, rows += kRows, row += kRows, c += kRows * ldc * (factors ? 1 : 4)) {
    vi acc[kRows][kVectors];
    if constexpr (F::kPairs) pair_sums<F, kPerPanel>(g, rows, start, first, acc);
    else sums<F, kPerPanel>(g, rows, start, first, acc);
    if (EDGERUN_UNLIKELY(watch.on) && !watch.before(g, row, acc)) return;
    if (factors) {
      store_rescaled(acc, factors, shifts, rescale, narrow, c, ldc, columns);
    } else {
      store_sums(acc, reinterpret_cast<int32_t*>(c), ldc, columns);
    }
    if (EDGERUN_UNLIKELY(watch.on) && !watch.after(g, row, c)) tiles<F, kRows, kPerPanel, kPanels>(exactly(g), rows, row, column, 1);
  }
}

using TileFn = void (*)(const IntProduct&, const void* const*, int64_t, int64_t, int64_t);

template <class F>
TileFn full_tile(int64_t rows) {
  constexpr TileFn few[] = {tiles<F, 1, kPanelVectors, 1>, tiles<F, 2, kPanelVectors, 1>, tiles<F, 3, kPanelVectors, 1>,
                            tiles<F, 4, kPanelVectors, 1>};
  if (rows <= 4) return few[rows - 1];
  if constexpr (kTileRows >= 6) {
    if (rows == 5) return tiles<F, 5, kPanelVectors, 1>;
    if (rows == 6) return tiles<F, 6, kPanelVectors, 1>;
  }
  if constexpr (kTileRows >= 8) return rows == 7 ? tiles<F, 7, kPanelVectors, 1> : tiles<F, 8, kPanelVectors, 1>;
  return nullptr;
}

template <class F>
TileFn thin_tile(int64_t rows) {
  constexpr TileFn all[] = {tiles<F, 1, 1, 1>, tiles<F, 2, 1, 1>, tiles<F, 3, 1, 1>, tiles<F, 4, 1, 1>,
                            tiles<F, 5, 1, 1>, tiles<F, 6, 1, 1>, tiles<F, 7, 1, 1>, tiles<F, 8, 1, 1>};
  return all[rows - 1];
}

template <class F>
void multiply_with(const IntProduct& g, const void* const* rows, int64_t row, int64_t m, int64_t first, int64_t last) {
  int64_t p = first;
  if (m <= 3) {  // several panels at once, or too few accumulators would wait for each other
    const int64_t whole = least(g.columns / kPanel, last);
    if (m == 1)
      for (; p + 4 <= whole; p += 4) tiles<F, 1, kPanelVectors, 4>(g, rows, row, p * kPanel, 1);
    for (; p + 2 <= whole; p += 2) {
      const TileFn wide = m == 1   ? tiles<F, 1, kPanelVectors, 2>
                          : m == 2 ? tiles<F, 2, kPanelVectors, 2>
                                   : tiles<F, 3, kPanelVectors, 2>;
      wide(g, rows, row, p * kPanel, 1);
    }
  }
  for (; p < last; ++p) {
    const bool thin = panel_width(g.columns, p) == kLanes;
    const int64_t step = thin ? kNarrowRows : kTileRows;
    const TileFn whole = thin ? thin_tile<F>(step) : full_tile<F>(step);
    const int64_t i = m / step * step;
    if (i > 0) whole(g, rows, row, p * kPanel, m / step);
    if (i < m) (thin ? thin_tile<F>(m - i) : full_tile<F>(m - i))(g, rows + i, row + i, p * kPanel, 1);
  }
}

}  // namespace

void int_multiply(const IntProduct& g, const void* const* rows, int64_t row, int64_t m, int64_t first, int64_t last) {
  if (g.form == Form::words) return multiply_with<WordsForm>(g, rows, row, m, first, last);
  multiply_with<PackedBytesForm>(g, rows, row, m, first, last);
}

EDGERUN_ISA_END
