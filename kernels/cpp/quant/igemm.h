// The integer product behind int8 convolution and matmul: C = A B + start, then rescaled to bytes (or left as int32).
//
// Blocking as in matmul/gemm.h: panels of kPanel columns, the last one kLanes wide where that is enough; K in segments, A's rows
// through pointers. Packed B: for every group of kGroup elements of K, the panel's columns, each with its group. A segment is
// padded with zero weights to whole groups, so up to kGroup - 1 words behind a segment of A are read (and count nothing).
// Where no vector of int8 lanes is wide enough to be exact (AVX2's maddubs saturates), words are as fast: two products a lane.
#pragma once
#include "matmul/gemm.h"
#include "quant/narrow.h"
#include "quant/words.h"

EDGERUN_ISA_BEGIN

inline constexpr int64_t kIntRows = 24;  // of a unit of work: a multiple of every tile's rows

struct IntProduct {
  const int64_t* segments;  // word offsets of A's segments
  int64_t n_segments;
  int64_t groups;           // of one segment
  const void* b;            // packed: words, or bytes when `narrow_b`
  int64_t b_panel;          // elements between panels
  bool narrow_b;
  const int32_t* start;     // [padded columns]: bias
  const int32_t* factor;    // [padded columns], null: C is int32
  const int32_t* left;      // [padded columns] or null where no column shifts
  Narrow narrow;
  void* c;                  // bytes, or int32
  int64_t ldc, columns;
};

EDGERUN_SIMD int64_t groups_of(int64_t length) { return ceil_div(length, kGroup); }
EDGERUN_SIMD int64_t padded_columns(int64_t columns) {
  return columns == 0 ? 0 : (panels_of(columns) - 1) * kPanel + panel_width(columns, panels_of(columns) - 1);
}

// int32 lists beside the weights, one after the other: bias, factors, shifts.
struct Epilogue {
  int64_t columns;  // padded
  bool rescales, shifts;

  EDGERUN_INLINE int64_t bytes() const { return ceil_div(columns * 4, kCacheLine) * kCacheLine * (1 + rescales + shifts); }
  EDGERUN_INLINE int64_t step() const { return ceil_div(columns * 4, kCacheLine) * kCacheLine / 4; }
};
// Which of `columns` columns: those from `first` on of an operand of (m, left). out: Epilogue::bytes().
static inline void pack_epilogue(const Epilogue& e, const TensorView* bias, const TensorView* factors, int64_t first, int64_t columns,
                                 int32_t* out) {
  const int64_t n = factors ? factors->dims[1] : 0;
  for (int64_t k = 0; k < e.columns; ++k) {
    const int64_t from = n == 1 ? 0 : first + k;
    out[k] = bias && k < columns ? bias->as<const int32_t>()[first + k] : 0;
    if (e.rescales) out[e.step() + k] = k < columns ? factor_of(factors->as<const int32_t>()[from]) : 0;
    if (e.shifts) out[2 * e.step() + k] = k < columns ? factors->as<const int32_t>()[n + from] : 0;
  }
}
EDGERUN_SIMD void use_epilogue(const Epilogue& e, const int32_t* packed, IntProduct* g) {
  g->start = packed;
  g->factor = e.rescales ? packed + e.step() : nullptr;
  g->left = e.shifts ? packed + 2 * e.step() : nullptr;
}

// Elements of packed B for n_segments segments of `length`.
EDGERUN_SIMD int64_t packed_elements(int64_t n_segments, int64_t length, int64_t columns) {
  return n_segments * groups_of(length) * kGroup * padded_columns(columns);
}

// Packs B; element (k, n) is at(k, n), k counted over all segments.
template <class Out, class At>
EDGERUN_SIMD void pack_words(int64_t n_segments, int64_t length, int64_t columns, int64_t first, int64_t last, const At& at, Out* out) {
  for (int64_t p = first; p < last; ++p) {
    const int64_t width = panel_width(columns, p);
    for (int64_t s = 0; s < n_segments; ++s)
      for (int64_t k = 0; k < groups_of(length) * kGroup; k += kGroup)
        for (int64_t j = 0; j < width; ++j)
          for (int64_t i = 0; i < kGroup; ++i) {
            const int64_t n = p * kPanel + j;
            *out++ = n < columns && k + i < length ? static_cast<Out>(at(s * length + k + i, n)) : Out{0};
          }
  }
}

// Rows [row, row + m) of C, whose rows of A are rows[0..m), times panels [first, last).
void int_multiply(const IntProduct& g, const word* const* rows, int64_t row, int64_t m, int64_t first, int64_t last);

// n bytes minus their zero point.
template <class T>
EDGERUN_SIMD void widen(const T* x, int64_t n, int32_t zero, word* out) {
  for (int64_t k = 0; k < n; ++k) out[k] = static_cast<word>(x[k] - zero);
}

EDGERUN_ISA_END
