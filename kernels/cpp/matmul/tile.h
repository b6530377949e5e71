// The GEMM micro-kernel behind matmul and convolution: MR rows x (NP panels of NV vectors) of C in registers.
//
// Rows of A are reached through pointers and K is cut into segments (offsets relative to the row pointer), so a
// convolution needs no im2col copy: a segment is one kernel row of one output pixel. B comes in panels of kPanel columns
// (gemm.h), or as any row-major matrix where panels are full (b_row and b_panel are strides).
// The epilogue, while C is in registers: bias, residual, none / relu / clip with their checks. Other activations, and the
// one tile an armed fault lies in, are stored raw and finished by finish_tile (gemm.h).
#pragma once
#include "matmul/gemm.h"

EDGERUN_ISA_BEGIN

template <int kCode, bool kChecked, int kRows, int kVectors>
EDGERUN_SIMD void store_tile(const Product& g, const vf (&acc)[kRows][kVectors], float* c, int64_t columns, int64_t flat) {
  const ActVectors p(g.act);
  Checker seen;
  const int rest = static_cast<int>(columns - (kVectors - 1) * kLanes);  // columns in the last vector
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const vf y = activate<kCode, kChecked>(acc[r][v], p, seen);
      float* at = c + r * g.ldc + v * kLanes;
      if (v + 1 < kVectors || EDGERUN_LIKELY(rest == kLanes)) storeu(at, y);
      else store_partial(at, y, rest);
    }
  }
  if (kChecked) fold(seen, g.sink, flat, 0);
}

// A fault in an accumulator (or a result) of this tile.
template <int kRows, int kVectors>
static EDGERUN_NOINLINE __attribute__((cold)) void strike(const Product& g, vf (&acc)[kRows][kVectors], int64_t row, int64_t column) {
  const int64_t lane = g.fault_column - column;
  vi bits = as_int(acc[row][lane / kLanes]);
  bits[lane % kLanes] = static_cast<int32_t>(g.fault->strike(static_cast<uint32_t>(bits[lane % kLanes])));
  acc[row][lane / kLanes] = as_float(bits);
}

// Vectors [from, to) of the accumulators summed by lane, for the checksum of the product. Lanes past the last column hold 0.
template <int kRows, int kVectors>
EDGERUN_SIMD vf sum_tile(const vf (&acc)[kRows][kVectors], int from = 0, int to = kVectors) {
  static_assert(kRows * (kVectors < kPanelVectors ? kVectors : kPanelVectors) <= kTileTerms, "the bound in checksum_f32.h counts on it");
  vf part[2] = {zero(), zero()};
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = from; v < to; ++v) part[(r + v) % 2] = add(part[(r + v) % 2], acc[r][v]);
  return add(part[0], part[1]);
}

// The same to the band each panel is in.
template <int kRows, int kVectors>
EDGERUN_SIMD void add_tile(const Product& g, const vf (&acc)[kRows][kVectors], int64_t column) {
  if constexpr (kVectors > kPanelVectors && kRows * kVectors <= kTileTerms)
    if (g.seen_shift == kOneBand) return add_seen(g.seen, sum_tile(acc));
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; v += kPanelVectors)
    add_seen(g.seen + ((column + v * kLanes) >> g.seen_shift) * kLanes, sum_tile(acc, v, v + kPanelVectors < kVectors ? v + kPanelVectors : kVectors));
}

// Results without an activation, less the residual that they contain, for the checksum: see `stored` below. The residual's size
// adds to the bound, as it rounds the sum that is stored.
template <int kRows, int kVectors>
static EDGERUN_NOINLINE void add_stored(const Product& g, const vf (&acc)[kRows][kVectors], const float* res, int64_t column, int rest) {
  vf size = zero();
  for (int v = 0; v < kVectors; v += kPanelVectors) {
    vf sum = zero();
    for (int i = v; i < v + kPanelVectors && i < kVectors; ++i)
      for (int r = 0; r < kRows; ++r) {
        const float* from = res + r * g.ldc + i * kLanes;
        const vf x = i + 1 < kVectors || rest == kLanes ? loadu(from) : load_partial(from, rest);
        sum = add(sum, sub(acc[r][i], x));
        size = add(size, abs(x));
      }
    add_seen(g.seen + ((column + v * kLanes) >> g.seen_shift) * kLanes, sum);
  }
  g.sink->checksum->magnitude += 2 * reduce_max(size);
}

// Residual, activation and checks of the accumulators of kRows x kVectors at (row, column), then stores.
template <int kRows, int kVectors>
EDGERUN_SIMD void emit(const Product& g, vf (&acc)[kRows][kVectors], int64_t row, int64_t column, int64_t columns) {
  const int rest = static_cast<int>(columns - (kVectors - 1) * kLanes);
  const int64_t at = row * g.ldc + column;
  float* c = g.c + at;
  bool hit = g.fault_row >= row && g.fault_row < row + kRows && g.fault_column >= column && g.fault_column < column + columns;
  const bool stored = g.seen && g.sink && g.act.code == kNone;  // no identity looks at these results: the checksum does
  if (EDGERUN_UNLIKELY(hit) && (g.fault->site == FaultSite::accumulator || (stored && !g.residual))) {
    strike(g, acc, g.fault_row - row, column);
    hit = false;
  }
  if (g.seen && !(stored && g.residual)) add_tile(g, acc, column);
  if (g.residual) {
    const float* res = g.residual + at;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const float* from = res + r * g.ldc + v * kLanes;
        const bool whole = v + 1 < kVectors || EDGERUN_LIKELY(rest == kLanes);
        acc[r][v] = add(acc[r][v], whole ? loadu(from) : load_partial(from, rest));
      }
    }
    if (stored) {
      if (EDGERUN_UNLIKELY(hit)) strike(g, acc, g.fault_row - row, column), hit = false;
      add_stored(g, acc, res, column, rest);
    }
  }
  const int32_t code = EDGERUN_UNLIKELY(hit) ? kActivationCount : g.act.code;
  if (code == kNone) {
    if (g.sink) store_tile<kNone, true>(g, acc, c, columns, g.flat + at);
    else store_tile<kNone, false>(g, acc, c, columns, 0);
  } else if (code == kRelu) {
    if (g.sink) store_tile<kRelu, true>(g, acc, c, columns, g.flat + at);
    else store_tile<kRelu, false>(g, acc, c, columns, 0);
  } else if (code == kClip) {
    if (g.sink) store_tile<kClip, true>(g, acc, c, columns, g.flat + at);
    else store_tile<kClip, false>(g, acc, c, columns, 0);
  } else {
    store_tile<kNone, false>(g, acc, c, columns, 0);
    finish_tile(g, row, column, kRows, columns);
  }
}

// acc += lane kLane of the rows of A times the row of B at b.
template <int kLane, int kVectorsPerPanel, int kRows, int kVectors>
EDGERUN_SIMD void add_row(const vf (&x)[kRows], const float* b, int64_t b_panel, vf (&acc)[kRows][kVectors]) {
  vf w[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) w[v] = loadu(b + v / kVectorsPerPanel * b_panel + v % kVectorsPerPanel * kLanes);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) acc[r][v] = fma_lane<kLane>(x[r], w[v], acc[r][v]);
}

// rows[r]: A's row r of the tile; C's tile starts at (row, column). The last of the tile's vectors may be partial.
template <int kRows, int kVectorsPerPanel, int kPanels>
static EDGERUN_NOINLINE void tile(const Product& g, const float* const* rows, int64_t row, int64_t column) {
  constexpr int kVectors = kVectorsPerPanel * kPanels;
  const int64_t left = g.columns - column;
  const int64_t columns = left < kVectors * kLanes ? left : kVectors * kLanes;
  const int rest = static_cast<int>(columns - (kVectors - 1) * kLanes);
  vf sum[kRows][kVectors];  // apart from acc, which GCC would keep in memory: it goes to functions
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    vf first = zero();
    if (g.bias) {
      const float* at = g.bias + column + v * kLanes;
      first = v + 1 < kVectors || EDGERUN_LIKELY(rest == kLanes) ? loadu(at) : load_partial(at, rest);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sum[r][v] = first;
  }

  const int64_t b_row = g.b_row, b_panel = g.b_panel, length = g.length;
  const float* b = g.b + column / kPanel * b_panel;
  for (int64_t s = 0; s < g.n_segments; ++s) {
    const int64_t offset = g.segments[s];
    const float* a[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) a[r] = rows[r] + offset;
    int64_t k = 0;
    if constexpr (kHasFmaLane)
      for (; k + 4 <= length; k += 4, b += 4 * b_row) {
        vf x[kRows];
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) x[r] = loadu(a[r] + k);
        add_row<0, kVectorsPerPanel>(x, b, b_panel, sum);
        add_row<1, kVectorsPerPanel>(x, b + b_row, b_panel, sum);
        add_row<2, kVectorsPerPanel>(x, b + 2 * b_row, b_panel, sum);
        add_row<3, kVectorsPerPanel>(x, b + 3 * b_row, b_panel, sum);
      }
    for (; k < length; ++k) {
      vf w[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) w[v] = loadu(b + v / kVectorsPerPanel * b_panel + v % kVectorsPerPanel * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const vf x = broadcast(a[r][k]);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sum[r][v] = fma(x, w[v], sum[r][v]);
      }
      b += b_row;
    }
  }

  vf acc[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) acc[r][v] = sum[r][v];
  emit(g, acc, row, column, columns);
}

EDGERUN_ISA_END
