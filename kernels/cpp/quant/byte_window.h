// Pooling over x[N,H,W,C] of bytes, kBytes channels at a time.
#pragma once
#include "pool/window.h"
#include "quant/lanes.h"

EDGERUN_ISA_BEGIN

inline constexpr int64_t kFewTaps = 256;

// The taps of one window that lie in the image, at some channel.
struct ByteTaps {
  const uint8_t* origin;  // of the window, which may lie outside the image
  Taps rows, columns;
  int64_t row_step, column_step;
  const int64_t* offsets;  // of every tap from the origin, where there are at most kFewTaps
  int64_t few;             // how many these are, -1: more

  EDGERUN_INLINE const uint8_t* row(int64_t i) const { return origin + i * row_step + columns.first * column_step; }
  EDGERUN_INLINE int64_t count() const { return rows.count() * columns.count(); }
};

inline bool same_taps(Taps a, Taps b) { return a.first == b.first && a.last == b.last; }

// Makes the list of offsets.
inline void list_taps(ByteTaps* t, int64_t* offsets) {
  t->offsets = offsets;
  t->few = -1;
  if (t->count() > kFewTaps) return;
  t->few = 0;
  for (int64_t i = t->rows.first; i < t->rows.last; ++i)
    for (int64_t j = t->columns.first; j < t->columns.last; ++j) offsets[t->few++] = i * t->row_step + j * t->column_step;
}

// Output rows [r.begin, r.end). make(first row, first column, taps) gives the Op of one window, v8 op(taps, load), which asks
// load(pointer) for the bytes of a tap.
template <class Make> inline void byte_windows(const Window& p, const Run& r, const Make& make) {
  const uint8_t* x = r.in[0].as<const uint8_t>();
  const uint8_t* x_end = x + r.in[0].elements();
  uint8_t* y = r.out[0].as<uint8_t>() + r.begin * p.ow * p.c;
  const auto whole = [](const uint8_t* at) __attribute__((always_inline)) { return loadu_bytes(at); };
  // What lies behind a pixel's few channels is the next pixel's, or the end of x.
  const auto inside = [x_end](const uint8_t* at) __attribute__((always_inline)) {
    return EDGERUN_LIKELY(x_end - at >= kBytes) ? loadu_bytes(at) : load_bytes_partial(at, x_end - at);
  };
  int64_t offsets[kFewTaps];
  ByteTaps t{x, {0, 0}, {0, 0}, p.dh * p.w * p.c, p.dw * p.c, offsets, 0};
  for (int64_t u = r.begin; u < r.end; ++u) {
    const int64_t image = u / p.oh, ih = u % p.oh * p.sh - p.top;
    const Taps rows = taps_in(ih, p.kh, p.dh, 0, p.h);
    for (int64_t o = 0; o < p.ow; ++o, y += p.c) {
      const int64_t iw = o * p.sw - p.left;
      const Taps columns = taps_in(iw, p.kw, p.dw, 0, p.w);
      if (!same_taps(t.rows, rows) || !same_taps(t.columns, columns)) t.rows = rows, t.columns = columns, list_taps(&t, offsets);
      const uint8_t* origin = t.origin = x + ((image * p.h + ih) * p.w + iw) * p.c;
      const auto op = make(ih, iw, t);
      if (p.c < kBytes) {
        store_bytes_partial(y, op(t, inside), p.c);
        continue;
      }
      for (int64_t k = 0; k < p.c; k += kBytes) {  // the last vector overlaps the one before
        const int64_t at = least(k, p.c - kBytes);
        t.origin = origin + at;
        storeu_bytes(y + at, op(t, whole));
      }
    }
  }
}

EDGERUN_ISA_END
