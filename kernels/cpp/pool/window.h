// The geometry of a 2-D pooling window over x[N,H,W,C], checked against the output's size.
#pragma once
#include "operand.h"
#include "simd.h"

namespace edgerun::EDGERUN_ISA {

struct Window {
  int64_t n, h, w, c, oh, ow;
  int64_t kh, kw, sh, sw, dh, dw;
  int64_t top, left, bottom, right;  // pads
};

// The output length is what the window gives when rounded down, or up (ceil_mode).
inline bool pooled(int64_t in, int64_t pads, int64_t kernel, int64_t stride, int64_t dilation, int64_t out) {
  const int64_t room = in + pads - ((kernel - 1) * dilation + 1);
  if (room < 0) return out == (room + stride > 0 && out == 1 ? 1 : 0);
  return out == room / stride + 1 || out == ceil_div(room, stride) + 1;
}

// Of sound operands x and y of any dtype.
inline Status window_geometry(const Request& r, Window* p) {
  const TensorView &x = r.in[0], &y = r.out[0];
  if (x.rank != 4 || y.rank != 4) return Status::bad_rank;
  int64_t kernel[2], strides[2] = {1, 1}, dilations[2] = {1, 1}, pads[4] = {};
  if (!ints(r, "kernel", 2, kernel)) return Status::bad_attribute;
  if (r.attrs.find("strides") && !ints(r, "strides", 2, strides)) return Status::bad_attribute;
  if (r.attrs.find("dilations") && !ints(r, "dilations", 2, dilations)) return Status::bad_attribute;
  if (r.attrs.find("pads") && !ints(r, "pads", 4, pads)) return Status::bad_attribute;
  const int64_t limit = int64_t{1} << 24;
  for (int k = 0; k < 2; ++k) {
    if (kernel[k] < 1 || strides[k] < 1 || dilations[k] < 1) return Status::bad_attribute;
    if (kernel[k] > limit || strides[k] > limit || dilations[k] > limit) return Status::too_large;
  }
  for (int k = 0; k < 4; ++k) {
    if (pads[k] < 0) return Status::bad_attribute;
    if (pads[k] > limit) return Status::too_large;
  }
  *p = {x.dims[0],  x.dims[1],  x.dims[2],    x.dims[3],    y.dims[1], y.dims[2], kernel[0], kernel[1],
        strides[0], strides[1], dilations[0], dilations[1], pads[0],   pads[1],   pads[2],   pads[3]};
  if (y.dims[0] != p->n || y.dims[3] != p->c) return Status::bad_shape;
  if (!pooled(p->h, p->top + p->bottom, p->kh, p->sh, p->dh, p->oh)) return Status::bad_shape;
  if (!pooled(p->w, p->left + p->right, p->kw, p->sw, p->dw, p->ow)) return Status::bad_shape;
  return Status::ok;
}

inline Status window_of(const Request& r, Window* p) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  EDGERUN_TRY(sound(r.in[0], DType::f32));
  EDGERUN_TRY(sound(r.out[0], DType::f32));
  return window_geometry(r, p);
}

inline void need_window(const Request& r, const Window& p, Need* need) {
  const double out = static_cast<double>(r.out[0].elements());
  need->params = sizeof(Window);
  need->units = r.out[0].elements() ? p.n * p.oh : 0;
  need->work = out * static_cast<double>(p.kh) * static_cast<double>(p.kw);
  need->bytes = 4.0 * (out + static_cast<double>(r.in[0].elements()));
}

// Taps [first, last) of a window that starts at `start` (may be negative) that lie in [low, high).
struct Taps {
  int64_t first, last;
  EDGERUN_INLINE int64_t count() const { return last > first ? last - first : 0; }
};
inline Taps taps_in(int64_t start, int64_t kernel, int64_t dilation, int64_t low, int64_t high) {
  Taps t{0, 0};
  const auto steps = [dilation](int64_t n) { return dilation == 1 ? n : ceil_div(n, dilation); };  // divisions are slow
  if (start < low) t.first = least(kernel, steps(low - start));
  if (start < high) t.last = least(kernel, steps(high - start));
  return t;
}

// Reduces the window at one output pixel for every channel. Op: vf start(), vf tap(vf acc, vf x), vf finish(vf acc).
template <class Op> inline void pool_pixel(const Op& op, const float* x, Taps rows, Taps columns, int64_t row,
                                           int64_t column, float* y, int64_t c) {
  constexpr int kWide = 4;
  int64_t k = 0;
  for (; k + kWide * kLanes <= c; k += kWide * kLanes) {
    vf acc[kWide];
    for (int v = 0; v < kWide; ++v) acc[v] = op.start();
    for (int64_t i = rows.first; i < rows.last; ++i) {
      const float* at = x + i * row + columns.first * column + k;
      for (int64_t j = columns.first; j < columns.last; ++j, at += column)
        for (int v = 0; v < kWide; ++v) acc[v] = op.tap(acc[v], loadu(at + v * kLanes));
    }
    for (int v = 0; v < kWide; ++v) storeu(y + k + v * kLanes, op.finish(acc[v]));
  }
  for (; k + kLanes <= c; k += kLanes) {
    vf acc = op.start();
    for (int64_t i = rows.first; i < rows.last; ++i) {
      const float* at = x + i * row + columns.first * column + k;
      for (int64_t j = columns.first; j < columns.last; ++j, at += column) acc = op.tap(acc, loadu(at));
    }
    storeu(y + k, op.finish(acc));
  }
  if (k < c) {
    const int rest = static_cast<int>(c - k);
    vf acc = op.start();
    for (int64_t i = rows.first; i < rows.last; ++i) {
      const float* at = x + i * row + columns.first * column + k;
      for (int64_t j = columns.first; j < columns.last; ++j, at += column) acc = op.tap(acc, load_partial(at, rest));
    }
    store_partial(y + k, op.finish(acc), rest);
  }
}

// Output rows [r.begin, r.end). make(row start, column start, taps in the image) gives the Op of one pixel.
template <class Make> inline void pool_rows(const Window& p, const Run& r, const Make& make) {
  const float* x = r.in[0].as<const float>();
  float* y = r.out[0].as<float>() + r.begin * p.ow * p.c;
  const int64_t row = p.dh * p.w * p.c, column = p.dw * p.c;
  for (int64_t u = r.begin; u < r.end; ++u) {
    const int64_t image = u / p.oh, ih = u % p.oh * p.sh - p.top;
    const Taps rows = taps_in(ih, p.kh, p.dh, 0, p.h);
    for (int64_t o = 0; o < p.ow; ++o, y += p.c) {
      const int64_t iw = o * p.sw - p.left;
      const Taps columns = taps_in(iw, p.kw, p.dw, 0, p.w);
      pool_pixel(make(ih, iw, rows, columns), x + ((image * p.h + ih) * p.w + iw) * p.c, rows, columns, row, column, y,
                 p.c);
    }
  }
}

}  // namespace edgerun::EDGERUN_ISA
