// The integer product behind int8 convolution and matmul: C = A B + start, then rescaled to bytes (or left as int32).
//
// Blocking as in matmul/gemm.h: panels of kPanel columns, the last one kLanes wide where that is enough; K in segments, A's rows
// through pointers. Packed B: for every group of elements of K (words.h), the panel's columns, each with its group. A segment is padded
// with zero weights to whole groups, so up to kMostGroup - 1 elements behind a segment of A are read (and count nothing).
// Where no instruction multiplies bytes exactly (AVX2's maddubs saturates), words are as fast: two products a lane.
#pragma once
#include "matmul/gemm.h"
#include "quant/lanes.h"
#include "quant/narrow.h"
#include "quant/words.h"

EDGERUN_ISA_BEGIN

inline constexpr int64_t kIntRows = 24;  // of a unit of work: a multiple of every tile's rows

inline constexpr int64_t kMostGroup = 8;

struct IntProduct {
  Form form;
  const int64_t* segments;  // element offsets of A's segments
  int64_t n_segments;
  int64_t groups;           // of one segment
  const void* b;            // packed
  int64_t b_panel;          // elements between panels
  const int32_t* start;     // [padded columns]: bias
  const int32_t* factor;    // [padded columns], null: C is int32
  const int32_t* left;      // [padded columns] or null where no column shifts
  Narrow narrow;
  void* c;                  // bytes, or int32
  int64_t ldc, columns;
  int64_t flat;             // flat output index of c[0]
  CheckSink* sink;          // null: checks off
  uint32_t* seen;           // where the sums of the accumulators go by lane, or null
  bool verify;              // rescaled results are verified
  bool exactly;             // nothing is stored: what is stored is held against the sums, computed once more
  const Fault* fault;       // armed in this product, or null
  int64_t fault_row, fault_column;  // its position in c, or negative
};

// The checksum's place in a run whose audit is on, or null.
EDGERUN_SIMD uint32_t* seen_of(const Run& r, bool audited) { return audited && r.sink ? r.sink->checksum->difference : nullptr; }

// Does an armed fault lie in this tile?
EDGERUN_SIMD bool struck(const IntProduct& g, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  return EDGERUN_UNLIKELY(g.fault != nullptr) && g.fault_row >= row && g.fault_row < row + rows && g.fault_column >= column &&
         g.fault_column < column + columns;
}

// Stores a tile's sums as they are.
template <int kRows, int kVectors>
EDGERUN_SIMD void store_sums(const vi (&acc)[kRows][kVectors], int32_t* c, int64_t ldc, int columns) {
  if (EDGERUN_LIKELY(columns == kVectors * kLanes)) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) storeu_int(c + r * ldc + v * kLanes, acc[r][v]);
    return;
  }
  int32_t kept[kRows * kVectors * kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kRows * kVectors; ++i) storeu_int(kept + i * kLanes, acc[i / kVectors][i % kVectors]);
  for (int r = 0; r < kRows; ++r)
    for (int k = 0; k < columns; ++k) c[r * ldc + k] = kept[r * kVectors * kLanes + k];
}

EDGERUN_SIMD int64_t groups_of(Form f, int64_t length) { return ceil_div(length, step_of(f)); }
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
// zero: what A's bytes count too much (form bytes); sum(column): of that column's weights.
template <class Sum>
EDGERUN_SIMD void pack_epilogue(const Epilogue& e, const TensorView* bias, const TensorView* factors, int64_t first, int64_t columns,
                                int32_t zero, const Sum& sum, int32_t* out) {
  const int64_t n = factors ? factors->dims[1] : 0;
  for (int64_t k = 0; k < e.columns; ++k) {
    const int64_t from = n == 1 ? 0 : first + k;
    out[k] = bias && k < columns ? bias->as<const int32_t>()[first + k] : 0;
    if (zero != 0 && k < columns) out[k] -= zero * sum(k);
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
EDGERUN_SIMD int64_t packed_elements(Form f, int64_t n_segments, int64_t length, int64_t columns) {
  return n_segments * groups_of(f, length) * step_of(f) * padded_columns(columns);
}

// Packs B; element (k, n) is at(k, n), k counted over all segments.
template <class Out, class At>
EDGERUN_SIMD void pack_elements(int64_t step, int64_t n_segments, int64_t length, int64_t columns, int64_t first, int64_t last, const At& at, Out* out) {
  for (int64_t p = first; p < last; ++p) {
    const int64_t width = panel_width(columns, p);
    for (int64_t s = 0; s < n_segments; ++s)
      for (int64_t k = 0; k < length; k += step)
        for (int64_t j = 0; j < width; ++j)
          for (int64_t i = 0; i < step; ++i) {
            const int64_t n = p * kPanel + j;
            *out++ = n < columns && k + i < length ? static_cast<Out>(at(s * length + k + i, n)) : Out{0};
          }
  }
}

template <class At>
EDGERUN_SIMD void pack_b(Form f, int64_t n_segments, int64_t length, int64_t columns, int64_t first, int64_t last, const At& at, void* out) {
  if (f == Form::words) pack_elements(step_of(f), n_segments, length, columns, first, last, at, static_cast<word*>(out));
  else pack_elements(step_of(f), n_segments, length, columns, first, last, at, static_cast<int8_t*>(out));
}

// Rows [row, row + m) of C, whose rows of A are rows[0..m), times panels [first, last).
void int_multiply(const IntProduct& g, const void* const* rows, int64_t row, int64_t m, int64_t first, int64_t last);

// n bytes as A's elements: minus their zero point as words, as bytes otherwise.
template <class T>
EDGERUN_SIMD void widen(const T* x, int64_t n, int32_t zero, word* out) {
  for (int64_t k = 0; k < n; ++k) out[k] = static_cast<word>(x[k] - zero);
}
template <class T> EDGERUN_SIMD uint8_t flip_of() { return (T(-1) < T(0)) == kSignedBytes ? 0 : 128; }
template <class T>
EDGERUN_SIMD void widen(const T* x, int64_t n, int32_t, int8_t* out) {
  const v8 flip = broadcast_byte(flip_of<T>());
  if (n < kBytes) return store_bytes_partial(out, load_bytes_partial(x, n) ^ flip, n);
  for (int64_t k = 0; k + kBytes < n; k += kBytes) storeu_bytes(out + k, loadu_bytes(x + k) ^ flip);
  storeu_bytes(out + n - kBytes, loadu_bytes(x + n - kBytes) ^ flip);
}
// n bytes of one value: margins are short, and a call of memset costs more than they do.
EDGERUN_SIMD void fill_bytes(void* to, uint8_t value, int64_t n) {
  const v8 all = broadcast_byte(value);
  uint8_t* at = static_cast<uint8_t*>(to);
  if (n < kBytes) return store_bytes_partial(at, all, n);
  for (int64_t k = 0; k + kBytes < n; k += kBytes) storeu_bytes(at + k, all);
  storeu_bytes(at + n - kBytes, all);
}
// The zero point in A of form bytes: what padding holds, and what every element counts too much.
EDGERUN_SIMD int32_t byte_zero(bool signed_x, int32_t zero) {
  return signed_x == kSignedBytes ? zero : kSignedBytes ? zero - 128 : zero + 128;
}

EDGERUN_ISA_END
