// Drives the micro-kernel (tile.h) over blocks of rows and panels of columns; packs B.
//
// Packed B: panel after panel of kPanel columns, each [K][kPanel], zero-padded; a last panel of at most kLanes columns is
// [K][kLanes]. Panels are the outer loop, so that one panel stays in L1 while the rows of a block pass by.
#pragma once
#include "activation.h"
#include "integrity/checksum_f32.h"
#include "operand.h"

EDGERUN_ISA_BEGIN

inline constexpr int kPanelVectors = 2;
inline constexpr int kPanel = kPanelVectors * kLanes;               // columns of a full panel
#if defined(__arm__)
inline constexpr int kTileRows = 4;                                 // GCC spills more rows on armv7
#else
inline constexpr int kTileRows = kVectorRegisters >= 32 ? 8 : 6;    // rows of a full tile
#endif
inline constexpr int kNarrowRows = 8;                               // the same where the panel has one vector
inline constexpr int kMostRows = 8;

// One product C = act(A B + bias + residual).
struct Product {
  const int64_t* segments;  // offsets of A's segments
  int64_t n_segments;
  int64_t length;           // of a segment; K = n_segments * length
  const float* b;
  int64_t b_row, b_panel;   // strides between rows and between panels of b
  const float* bias;        // [columns] or null
  const float* residual;    // laid out like c, or null
  float* c;
  int64_t ldc, columns;
  int64_t flat;             // flat output index of c[0]
  ActParams act;
  CheckSink* sink;          // null: checks off
  double* seen;             // where the sums of the accumulators go, or null
  int32_t seen_shift;       // sums of columns n go to seen + (n >> seen_shift) * kLanes
  const Fault* fault;       // armed in this product, or null
  int64_t fault_row, fault_column;  // its position in c, or negative
};

template <class P>
EDGERUN_SIMD void locate_fault(P* g, int64_t rows) {
  g->fault_row = g->fault_column = -1;
  g->fault = nullptr;
  if (!g->sink || !g->sink->fault) return;
  const int64_t index = g->sink->fault->index - g->flat;
  if (index < 0 || g->ldc <= 0) return;
  if (index / g->ldc < rows && index % g->ldc < g->columns) {
    g->fault = g->sink->fault;
    g->fault_row = index / g->ldc;
    g->fault_column = index % g->ldc;
  }
}

// Splits a product whose activation is a pass of its own: the first part stores raw sums, unchecked, and takes a fault in an
// accumulator; the second keeps one in the result.
EDGERUN_SIMD Product raw_of(Product* g) {
  Product raw = *g;
  raw.act.code = kNone, raw.sink = nullptr;
  (g->fault && g->fault->site == FaultSite::accumulator ? g : &raw)->fault_row = -1;
  return raw;
}

EDGERUN_SIMD int64_t panels_of(int64_t columns) { return ceil_div(columns, kPanel); }
EDGERUN_SIMD int64_t panel_width(int64_t columns, int64_t panel) {  // as packed
  return columns - panel * kPanel <= kLanes ? kLanes : kPanel;
}
EDGERUN_SIMD int64_t packed_floats(int64_t k, int64_t columns) {
  return columns == 0 ? 0 : k * ((panels_of(columns) - 1) * kPanel + panel_width(columns, panels_of(columns) - 1));
}

// Packs panels [first, last) of B times alpha; element (k, n) is b[k * stride_k + n * stride_n]; out: panel `first`.
static inline void pack_panels(const float* b, int64_t k, int64_t columns, int64_t stride_k, int64_t stride_n, float alpha,
                               int64_t first, int64_t last, float* out) {
  for (int64_t p = first; p < last; ++p) {
    const int64_t width = panel_width(columns, p);
    const int64_t n = least(columns - p * kPanel, width);
    const float* from = b + p * kPanel * stride_n;
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < n; ++j) out[i * width + j] = alpha * from[i * stride_k + j * stride_n];
      for (int64_t j = n; j < width; ++j) out[i * width + j] = 0.f;
    }
    out += k * width;
  }
}

// Activation, fault and check over rows x columns of raw values at (row, column) of C, in place.
void finish_tile(const Product& g, int64_t row, int64_t column, int64_t rows, int64_t columns);

// Rows [row, row + m) of C, whose rows of A are rows[0..m), times panels [first, last). b_packed: the last panel may be
// a narrow one; otherwise all panels are full.
void multiply(Product g, const float* const* rows, int64_t row, int64_t m, int64_t first, int64_t last, bool b_packed);

// The same; an activation the tiles do not fuse follows in a pass of its own, while the block is in cache.
EDGERUN_SIMD void multiply_then_finish(Product g, const float* const* rows, int64_t row, int64_t m, int64_t first,
                                       int64_t last, bool b_packed) {
  if (g.act.code <= kClip) return multiply(g, rows, row, m, first, last, b_packed);
  const Product raw = raw_of(&g);
  multiply(raw, rows, row, m, first, last, b_packed);
  finish_tile(g, row, first * kPanel, m, least(last * kPanel, g.columns) - first * kPanel);
}

EDGERUN_ISA_END
