// Coordinates of ONNX Resize: where an output position lies in the input.
// coord: 0 half_pixel, 1 pytorch_half_pixel, 2 align_corners, 3 asymmetric, 4 half_pixel_symmetric.
#pragma once
#include <cmath>

#include "operand.h"

namespace edgerun::EDGERUN_ISA {

// Bound of the positions in a kernel's tables, so that their bytes fit a 32-bit size.
inline constexpr int64_t kMostPositions = int64_t{1} << 26;

struct Axis {
  double scale,
      size;  // of the output; size = scale · input length, a fraction where the output length was rounded down
  int64_t in, out;
  bool same;  // output positions are input positions
};

inline Status resize_axes(const Request& r, Axis* axes, int64_t* coord) {
  const TensorView &x = r.in[0], &y = r.out[0];
  float scales[kMaxRank];
  if (x.rank != y.rank) return Status::bad_rank;
  if (!floats(r, "scales", x.rank, scales) || !ints(r, "coord", 1, coord)) return Status::bad_attribute;
  if (*coord < 0 || *coord > 4) return Status::bad_attribute;
  for (int32_t k = 0; k < x.rank; ++k) {
    const int64_t in = x.dims[k], out = y.dims[k];
    if (!(scales[k] > 0.f && scales[k] <= 3e38f)) return Status::bad_attribute;
    if (in == 0 && out > 0) return Status::bad_shape;
    Axis& a = axes[k];
    a = {scales[k], static_cast<double>(scales[k]) * static_cast<double>(in), in, out, false};
    // A scale that was computed from sizes carries the rounding of float32: undo it.
    if (in > 0 && std::fabs(a.size - static_cast<double>(out)) <= 1e-5 * static_cast<double>(out)) {
      a.size = static_cast<double>(out);
      a.scale = a.size / static_cast<double>(in);
    }
    a.same = in == out && a.scale == 1.0;
  }
  return Status::ok;
}

inline double source_of(const Axis& a, int64_t coord, int64_t at) {
  const double x = static_cast<double>(at), in = static_cast<double>(a.in);
  switch (coord) {
    case 1: return a.out == 1 ? 0.0 : (x + 0.5) / a.scale - 0.5;
    case 2: return a.size == 1.0 ? 0.0 : x * (in - 1) / (a.size - 1);
    case 3: return x / a.scale;
    case 4: return in / 2 * (1 - static_cast<double>(a.out) / a.size) + (x + 0.5) / a.scale - 0.5;
    default: return (x + 0.5) / a.scale - 0.5;
  }
}

// Into [0, n-1]; NaN gives 0.
inline double clamped(double x, int64_t n) {
  const double top = static_cast<double>(n - 1);
  return x > 0 ? (x < top ? x : top) : 0;
}

}  // namespace edgerun::EDGERUN_ISA
