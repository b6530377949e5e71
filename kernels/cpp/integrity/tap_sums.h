// What the checksum of a convolution needs of its input: for every tap (ky, kx) and channel the sum of the input over all output
// pixels, s[ky, kx, c] = sum over oy, ox of x[oy sh - pt + ky dh, ox sw - pl + kx dw, c], margins counting as zeros.
//
// One pass over the input, not one for each tap: rows and columns fall into runs whose members meet the same taps (with stride 1:
// the inner ones all, those at the edges fewer), each run is summed once, and the sums of runs are added up for each tap.
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

template <int kCount>
struct Vectors {
  static constexpr int value = kCount;
};

// Adds x[0], x[stride], ... (count pixels of `channels` floats) to sum[channels], and their sizes to size[channels].
template <bool kSigned>
EDGERUN_NOINLINE static void add_pixels(const float* x, int64_t count, int64_t stride, int64_t channels, float* sum, float* size) {
  int64_t c = 0;
  const auto block = [&](auto vectors) __attribute__((always_inline)) {
    constexpr int kVectors = decltype(vectors)::value;
    for (; c + kVectors * kLanes <= channels; c += kVectors * kLanes) {
      vf s[kVectors], m[kVectors];
      for (int v = 0; v < kVectors; ++v) s[v] = m[v] = zero();
      const float* at = x + c;
      for (int64_t i = 0; i < count; ++i, at += stride)
        for (int v = 0; v < kVectors; ++v) {
          const vf a = loadu(at + v * kLanes);
          s[v] = add(s[v], a);
          if (kSigned) m[v] = add(m[v], abs(a));
        }
      for (int v = 0; v < kVectors; ++v) {
        storeu(sum + c + v * kLanes, add(loadu(sum + c + v * kLanes), s[v]));
        storeu(size + c + v * kLanes, add(loadu(size + c + v * kLanes), kSigned ? m[v] : s[v]));
      }
    }
  };
  block(Vectors<4>{});
  block(Vectors<1>{});
  const auto left = static_cast<int>(channels - c);
  if (left == 0) return;
  if (stride == channels && channels < kLanes && count >= 4 * kLanes) {  // few channels, pixels without gaps: whole vectors in turn
    float turn[kLanes * kLanes], far[kLanes * kLanes];
    const int64_t period = channels * kLanes;
    for (int64_t v = 0; v < channels; ++v) {
      vf s = zero(), m = zero();
      for (int64_t i = 0; i + kLanes <= count; i += kLanes) {
        const vf a = loadu(x + i * channels + v * kLanes);
        s = add(s, a);
        if (kSigned) m = add(m, abs(a));
      }
      storeu(turn + v * kLanes, s);
      storeu(far + v * kLanes, kSigned ? m : s);
    }
    for (int64_t k = 0; k < period; ++k) sum[k % channels] += turn[k], size[k % channels] += far[k];
    const int64_t done = count / kLanes * kLanes;
    x += done * channels, count -= done;
  }
  vf s = zero(), m = zero();
  const float* at = x + c;
  for (int64_t i = 0; i < count; ++i, at += stride) {
    const vf a = load_partial(at, left);
    s = add(s, a);
    m = add(m, abs(a));
  }
  store_partial(sum + c, add(load_partial(sum + c, left), s), left);
  store_partial(size + c, add(load_partial(size + c, left), m), left);
}

EDGERUN_SIMD void add_pixels(bool is_signed, const float* x, int64_t count, int64_t stride, int64_t channels, float* sum, float* size) {
  if (is_signed) add_pixels<true>(x, count, stride, channels, sum, size);
  else add_pixels<false>(x, count, stride, channels, sum, size);
}

inline constexpr int64_t kPixelsPerAudit = 64;  // where there is one tap a pixel

// x [pixels, channels]: one tap. sum[channels] and size[channels] are set. Pixels of units [begin, end).
static inline void plain_sums(const float* x, int64_t pixels, int64_t channels, bool is_signed, int64_t begin, int64_t end,
                              float* sum, float* size) {
  __builtin_memset(sum, 0, static_cast<size_t>(channels) * 4);
  __builtin_memset(size, 0, static_cast<size_t>(channels) * 4);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t at = unit * kPixelsPerAudit;
    add_pixels(is_signed, x + at * channels, least(kPixelsPerAudit, pixels - at), channels, channels, sum, size);
  }
}

// x [batch, rows.size, columns.size, channels]; units are rows of all images. sum[kernel_h][kernel_w][channels] and
// size[channels] (of all values any tap meets) are set; room: columns.runs * channels floats.
static inline void tap_sums(const float* x, int64_t channels, const TapAxis& rows, const TapAxis& columns, bool is_signed,
                            int64_t begin, int64_t end, float* sum, float* size, float* room) {
  const int64_t line = columns.size * channels, taps = rows.kernel * columns.kernel;
  __builtin_memset(sum, 0, static_cast<size_t>(taps * channels) * 4);
  __builtin_memset(size, 0, static_cast<size_t>(channels) * 4);
  for (int32_t r = 0; r < rows.runs; ++r) {
    const TapRun& across = rows.run[r];
    __builtin_memset(room, 0, static_cast<size_t>(columns.runs * channels) * 4);
    for (int64_t image = begin / rows.size * rows.size; image < end; image += rows.size)
      for (int64_t k = 0; k < across.count; ++k) {
        const int64_t row = image + across.begin + k * rows.step;
        if (row < begin || row >= end) continue;
        for (int32_t j = 0; j < columns.runs; ++j)
          add_pixels(is_signed, x + row * line + columns.run[j].begin * channels, columns.run[j].count, columns.step * channels,
                     channels, room + j * channels, size);
      }
    for (int64_t kx = 0; kx < columns.kernel; ++kx)
      for (int32_t j = 0; j < columns.runs; ++j) {
        if (!(columns.run[j].taps >> kx & 1)) continue;
        for (int64_t ky = 0; ky < rows.kernel; ++ky) {
          if (!(across.taps >> ky & 1)) continue;
          float* to = sum + (ky * columns.kernel + kx) * channels;
          const float* from = room + j * channels;
          for (int64_t c = 0; c < channels; ++c) to[c] += from[c];
        }
      }
  }
}

EDGERUN_ISA_END
