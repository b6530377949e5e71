// What the checksum of a convolution needs of its input: for every tap (ky, kx) and channel the sum of the input over all output
// pixels, that is of x[oy sh - pt + ky dh, ox sw - pl + kx dw, c] over oy, ox, margins counting as zeros.
//
// One pass over the input, not one for each tap: rows and columns fall into runs whose members meet the same taps (with stride 1:
// the inner ones all, those at the edges fewer). A run of rows and a run of columns cross in a cell; each cell is summed once,
// and meets the sum of the weights of its taps, which is formed ahead of time.
#pragma once
#include "operand.h"
#include "simd.h"

EDGERUN_ISA_BEGIN

inline constexpr int kMostRuns = 24;

// Positions begin, begin + step, ... of one axis that the taps in `taps` meet; positions no tap meets are in no run.
struct TapRun {
  int32_t begin, count;
  uint32_t taps;
};

struct TapAxis {
  int64_t size, kernel, step;
  int32_t runs, longest;
  TapRun run[kMostRuns];
};

EDGERUN_SIMD uint32_t taps_meeting(int64_t at, int64_t out, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad) {
  uint32_t taps = 0;
  for (int64_t k = 0; k < kernel; ++k) {
    const int64_t from = at + pad - k * dilation;
    if (from >= 0 && from % stride == 0 && from / stride < out) taps |= uint32_t{1} << k;
  }
  return taps;
}

// False: too many taps or runs for this form.
static inline bool tap_axis(int64_t size, int64_t out, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad, TapAxis* a) {
  if (kernel > 31 || size > (1 << 30)) return false;
  *a = {size, kernel, stride, 0, 0, {}};
  for (int64_t at = 0; at < size; ++at) {
    const uint32_t taps = taps_meeting(at, out, kernel, stride, dilation, pad);
    if (!taps || (at >= stride && taps_meeting(at - stride, out, kernel, stride, dilation, pad) == taps)) continue;
    if (a->runs == kMostRuns) return false;
    int64_t end = at + stride;
    while (end < size && taps_meeting(end, out, kernel, stride, dilation, pad) == taps) end += stride;
    const auto count = static_cast<int32_t>((end - at) / stride);
    a->run[a->runs++] = {static_cast<int32_t>(at), count, taps};
    a->longest = a->longest < count ? count : a->longest;
  }
  return true;
}

// The taps of the cell in which runs cross, as a call f(tap) for each.
template <class F>
EDGERUN_SIMD void each_tap(const TapAxis& rows, const TapAxis& across, int32_t row_run, int32_t column_run, F&& f) {
  for (int64_t ky = 0; ky < rows.kernel; ++ky)
    for (int64_t kx = 0; kx < across.kernel; ++kx)
      if ((rows.run[row_run].taps >> ky & 1) && (across.run[column_run].taps >> kx & 1)) f(ky * across.kernel + kx);
}

// A block of pixels: `high` rows row_stride apart, of `wide` pixels stride apart.
struct PixelBlock {
  const float* x;
  int64_t high, row_stride, wide, stride;
};

// Adds channels [c, c + kVectors * kLanes) of a block to total, and their sizes to far; kAhead pixels at once, or additions would
// wait for each other. far is left alone where values have no sign.
template <bool kSigned, int kVectors, int kAhead>
EDGERUN_SIMD void sum_lanes(const PixelBlock& b, int64_t c, vf (&total)[kVectors], vf (&far)[kVectors]) {
  const float* row = b.x + c;
  for (int64_t i = 0; i < b.high; ++i, row += b.row_stride) {
    vf s[kAhead][kVectors], m[kAhead][kVectors];
    for (int a = 0; a < kAhead; ++a)
      for (int v = 0; v < kVectors; ++v) s[a][v] = m[a][v] = zero();
    const float* at = row;
    int64_t j = 0;
    for (; j + kAhead <= b.wide; j += kAhead)
      for (int a = 0; a < kAhead; ++a, at += b.stride)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const vf x = loadu(at + v * kLanes);
          s[a][v] = add(s[a][v], x);
          if (kSigned) m[a][v] = add(m[a][v], abs(x));
        }
    for (; j < b.wide; ++j, at += b.stride)
      for (int v = 0; v < kVectors; ++v) {
        const vf x = loadu(at + v * kLanes);
        s[0][v] = add(s[0][v], x);
        if (kSigned) m[0][v] = add(m[0][v], abs(x));
      }
    for (int v = 0; v < kVectors; ++v) {
      for (int a = 1; a < kAhead; ++a) s[0][v] = add(s[0][v], s[a][v]), m[0][v] = add(m[0][v], m[a][v]);
      total[v] = add(total[v], s[0][v]);
      if (kSigned) far[v] = add(far[v], m[0][v]);
    }
  }
}

// The same to memory; the size of values without a sign is their sum.
template <bool kSigned, int kVectors, int kAhead>
EDGERUN_SIMD void add_lanes(const PixelBlock& b, int64_t c, float* sum, float* size) {
  vf total[kVectors], far[kVectors];
  for (int v = 0; v < kVectors; ++v) total[v] = far[v] = zero();
  sum_lanes<kSigned, kVectors, kAhead>(b, c, total, far);
  for (int v = 0; v < kVectors; ++v) {
    float *to = sum + c + v * kLanes, *most = size + c + v * kLanes;
    storeu(to, add(loadu(to), total[v]));
    storeu(most, add(loadu(most), kSigned ? far[v] : total[v]));
  }
}

template <bool kSigned>
static EDGERUN_NOINLINE void add_block(const PixelBlock& b, int64_t channels, float* sum, float* size) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= channels; c += 4 * kLanes) add_lanes<kSigned, 4, 1>(b, c, sum, size);
  for (; c + 2 * kLanes <= channels; c += 2 * kLanes) add_lanes<kSigned, 2, 2>(b, c, sum, size);
  for (; c + kLanes <= channels; c += kLanes) add_lanes<kSigned, 1, 4>(b, c, sum, size);
  const auto left = static_cast<int>(channels - c);
  if (left == 0) return;
  vf s = zero(), m = zero();
  for (int64_t i = 0; i < b.high; ++i) {
    constexpr int kAhead = 4;
    vf row[kAhead], far[kAhead];  // a row by itself, as in sum_lanes: the bound counts wide + high roundings
    for (int a = 0; a < kAhead; ++a) row[a] = far[a] = zero();
    const float* at = b.x + i * b.row_stride + c;
    int64_t j = 0;
    const auto take = [&](int a) __attribute__((always_inline)) {
      const vf x = load_partial(at, left);
      row[a] = add(row[a], x);
      far[a] = add(far[a], abs(x));
      at += b.stride;
    };
    for (; j + kAhead <= b.wide; j += kAhead)
#pragma GCC unroll 4
      for (int a = 0; a < kAhead; ++a) take(a);
    for (; j < b.wide; ++j) take(0);
    s = add(s, add(add(row[0], row[1]), add(row[2], row[3])));
    m = add(m, add(add(far[0], far[1]), add(far[2], far[3])));
  }
  store_partial(sum + c, add(load_partial(sum + c, left), s), left);
  store_partial(size + c, add(load_partial(size + c, left), m), left);
}

EDGERUN_SIMD void add_block(bool is_signed, const PixelBlock& b, int64_t channels, float* sum, float* size) {
  if (is_signed) add_block<true>(b, channels, sum, size);
  else add_block<false>(b, channels, sum, size);
}

// Few channels: the rows of a block are summed first, whole vectors whatever the channels; line: floats of a row.
template <int kVectors>
EDGERUN_SIMD void add_rows_at(const float* x, int64_t high, int64_t row_stride, float* sum, float* size) {
  vf s[kVectors], m[kVectors];
  for (int v = 0; v < kVectors; ++v) s[v] = loadu(sum + v * kLanes), m[v] = loadu(size + v * kLanes);
  for (int64_t i = 0; i < high; ++i, x += row_stride)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const vf value = loadu(x + v * kLanes);
      s[v] = add(s[v], value);
      m[v] = add(m[v], abs(value));
    }
  for (int v = 0; v < kVectors; ++v) storeu(sum + v * kLanes, s[v]), storeu(size + v * kLanes, m[v]);
}

static EDGERUN_NOINLINE void add_rows(const float* x, int64_t high, int64_t row_stride, int64_t line, float* sum, float* size) {
  int64_t at = 0;
  for (; at + 4 * kLanes <= line; at += 4 * kLanes) add_rows_at<4>(x + at, high, row_stride, sum + at, size + at);
  for (; at + kLanes <= line; at += kLanes) add_rows_at<1>(x + at, high, row_stride, sum + at, size + at);
  for (int64_t i = 0; i < high && at < line; ++i)
    for (int64_t k = at; k < line; ++k) {
      const float value = x[i * row_stride + k];
      sum[k] += value;
      size[k] += value < 0 ? -value : value;
    }
}

// sum and size of `count` values `stride` apart are added; several chains, or additions would wait for each other.
EDGERUN_SIMD void add_strided(const float* v, const float* m, int64_t count, int64_t stride, float* sum, float* size) {
  float s[4] = {}, t[4] = {};
  int64_t k = 0;
  for (; k + 4 <= count; k += 4)
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) s[i] += v[(k + i) * stride], t[i] += m[(k + i) * stride];
  for (; k < count; ++k) s[0] += v[k * stride], t[0] += m[k * stride];
  *sum += (s[0] + s[1]) + (s[2] + s[3]);
  *size += (t[0] + t[1]) + (t[2] + t[3]);
}

inline constexpr int64_t kPixelsPerAudit = 64;  // where there is one tap a pixel

// x [pixels, channels], one tap, one cell: sum[channels] and size[channels] are set. Pixels of units [begin, end).
static inline void plain_sums(const float* x, int64_t pixels, int64_t channels, bool is_signed, int64_t begin, int64_t end,
                              float* sum, float* size) {
  __builtin_memset(sum, 0, static_cast<size_t>(channels) * 4);
  __builtin_memset(size, 0, static_cast<size_t>(channels) * 4);
  const int64_t unit = kPixelsPerAudit * channels, whole = least(end, pixels / kPixelsPerAudit);
  add_block(is_signed, {x + begin * unit, most(0, whole - begin), unit, kPixelsPerAudit, channels}, channels, sum, size);
  if (whole < end) add_block(is_signed, {x + whole * unit, 1, unit, pixels - whole * kPixelsPerAudit, channels}, channels, sum, size);
}

EDGERUN_SIMD bool few_channels(int64_t channels) { return channels < kLanes; }
// Floats of scratch besides the sums.
EDGERUN_SIMD int64_t cell_room(int64_t channels, const TapAxis& across) {
  return few_channels(channels) ? 2 * across.size * channels : 0;
}

// The blocks of x [batch, rows.size, across.size, channels] in the cells of row run r, f(first row of the block, rows), units being
// rows of all images.
template <class F>
EDGERUN_SIMD void each_span(const TapAxis& rows, int32_t r, int64_t begin, int64_t end, F&& f) {
  const TapRun& run = rows.run[r];
  for (int64_t image = begin / rows.size * rows.size; image < end; image += rows.size) {
    const int64_t low = begin - image - run.begin, high = end - image - run.begin;  // members k with low <= k step < high
    const int64_t first = low <= 0 ? 0 : ceil_div(low, rows.step), last = least(run.count, high <= 0 ? 0 : ceil_div(high, rows.step));
    if (first < last) f(image + run.begin + first * rows.step, last - first);
  }
}

// sum[rows.runs][across.runs][channels] and size[channels] (of all values that any tap meets) are set.
static inline void cell_sums(const float* x, int64_t channels, const TapAxis& rows, const TapAxis& across, bool is_signed,
                             int64_t begin, int64_t end, float* sum, float* size, float* room) {
  const int64_t line = across.size * channels;
  const bool few = few_channels(channels);
  __builtin_memset(sum, 0, static_cast<size_t>(rows.runs * across.runs * channels) * 4);
  __builtin_memset(size, 0, static_cast<size_t>(channels) * 4);
  for (int32_t r = 0; r < rows.runs; ++r) {
    if (few) __builtin_memset(room, 0, static_cast<size_t>(2 * line) * 4);
    each_span(rows, r, begin, end, [&](int64_t row, int64_t high) {
      if (few) return add_rows(x + row * line, high, rows.step * line, line, room, room + line);
      for (int32_t j = 0; j < across.runs; ++j)
        add_block(is_signed, {x + row * line + across.run[j].begin * channels, high, rows.step * line, across.run[j].count, across.step * channels},
                  channels, sum + (r * across.runs + j) * channels, size);
    });
    for (int32_t j = 0; j < across.runs && few; ++j)
      for (int64_t c = 0; c < channels; ++c) {
        const float* from = room + across.run[j].begin * channels + c;
        add_strided(from, from + line, across.run[j].count, across.step * channels, sum + (r * across.runs + j) * channels + c, size + c);
      }
  }
}

EDGERUN_ISA_END
