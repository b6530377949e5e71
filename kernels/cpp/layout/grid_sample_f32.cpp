// grid_sample_f32: y[n, o…, :] is x[n, …, :] interpolated at the place grid[n, o…, :], whose coordinates run from -1 to 1 over x,
// the last axis first. x[N, spatial (1 to 3), C], grid[N, O…, spatial], y[N, O…, C].
// mode: 0 linear, 1 nearest (ties to even), 2 cubic (Keys, a = -0.75). padding, for places outside: 0 zeros, 1 border,
// 2 reflection. align_corners: whether -1 and 1 are the centres of the outermost elements or their outer edges.
// A place that is NaN, or infinite under reflection, gives NaN; a tap of weight 0 is not read. A unit is one place.
#include <cmath>

#include "operand.h"

EDGERUN_ISA_BEGIN
namespace {
constexpr int32_t kMostAxes = 3, kMostTaps = 4;
enum Mode : int64_t { kLinear, kNearest, kCubic };
enum Padding : int64_t { kZeros, kBorder, kReflection };

struct Sampler {
  int64_t size[kMostAxes], stride[kMostAxes];  // of x, in elements
  int64_t places, image, channels;             // places of one image; elements of one image
  int64_t mode, padding, align;
  int32_t axes;
};

Status resolve(const Request& r, Sampler* p) {
  EDGERUN_TRY(arity(r, 2, 2, 1));
  const TensorView &x = r.in[0], &grid = r.in[1], &y = r.out[0];
  EDGERUN_TRY(sound(x, DType::f32));
  EDGERUN_TRY(sound(grid, DType::f32));
  EDGERUN_TRY(sound(y, DType::f32));
  p->axes = x.rank - 2;
  if (p->axes < 1 || p->axes > kMostAxes || grid.rank != x.rank || y.rank != x.rank) return Status::bad_rank;
  if (!ints(r, "mode", 1, &p->mode) || p->mode < 0 || p->mode > 2) return Status::bad_attribute;
  if (!ints(r, "padding", 1, &p->padding) || p->padding < 0 || p->padding > 2) return Status::bad_attribute;
  if (!ints(r, "align_corners", 1, &p->align) || p->align < 0 || p->align > 1) return Status::bad_attribute;
  if (grid.last() != p->axes || y.last() != x.last()) return Status::bad_shape;
  for (int32_t k = 0; k <= p->axes; ++k)
    if (y.dims[k] != grid.dims[k]) return Status::bad_shape;
  if (x.dims[0] != grid.dims[0]) return Status::bad_shape;
  p->channels = x.last();
  p->image = x.span(1, x.rank);
  p->places = y.span(1, y.rank - 1);
  if (p->image == 0 && y.elements() > 0) return Status::bad_shape;
  for (int32_t k = 0; k < p->axes; ++k) {
    p->size[k] = x.dims[k + 1], p->stride[k] = x.span(k + 2, x.rank);
    if (p->size[k] > (int64_t{1} << 40)) return Status::too_large;  // indices stay exact in double
  }
  return Status::ok;
}

// An index outside [0, n), mirrored: about the outermost elements' centres (align) or outer edges.
inline int64_t mirrored(int64_t i, int64_t n, bool align) {
  if (n == 1) return 0;
  const int64_t period = align ? 2 * (n - 1) : 2 * n;
  i %= period;
  if (i < 0) i += period;
  return i < n ? i : period - i - (align ? 0 : 1);
}

inline double reflected(double x, double low, double high) {
  if (x >= low && x <= high) return x;
  const double range = high - low, away = x < low ? low - x : x - high;
  if (!(range > 0)) return low;
  const double turns = std::floor(away / range), rest = away - turns * range;
  const bool near = std::fmod(turns, 2.0) == 0.0;
  return (x < low) == near ? low + rest : high - rest;
}

struct Taps {
  int64_t offset[kMostTaps];
  float weight[kMostTaps];
  int32_t count;
};

inline void keys(float t, float* w) {
  const float a = -0.75f, s = 1.f - t;
  w[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
  w[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
  w[2] = ((a + 2) * s - (a + 3)) * s * s + 1;
  w[3] = ((a * (s + 1) - 5 * a) * (s + 1) + 8 * a) * (s + 1) - 4 * a;
}

// The elements of one axis that a coordinate is made of; false where it is no number.
inline bool taps_of(const Sampler& p, int32_t axis, float g, Taps* taps) {
  const int64_t n = p.size[axis];
  const float length = static_cast<float>(n);
  float x = p.align ? (g + 1.f) / 2.f * (length - 1.f) : ((g + 1.f) * length - 1.f) / 2.f;
  if (p.mode == kNearest) x = std::nearbyintf(x);
  const double low = p.align ? 0.0 : -0.5, high = static_cast<double>(n) - (p.align ? 1.0 : 0.5);
  if (x < low || x > high) {
    if (p.padding == kBorder) x = x < low ? 0.f : length - 1.f;
    if (p.padding == kReflection) x = static_cast<float>(reflected(x, low, high));
  }
  taps->count = 0;
  if (x != x) return false;
  if (!(x > -4.f && x < length + 4.f)) return true;  // zeros: nothing is near. Otherwise a coordinate lies inside by now
  const float base = std::floor(x), t = x - base;
  float weight[kMostTaps] = {1.f - t, t};
  int32_t count = 2;
  int64_t first = static_cast<int64_t>(base);
  if (p.mode == kNearest) count = 1, weight[0] = 1.f;
  if (p.mode == kCubic) count = 4, --first, keys(t, weight);
  for (int32_t k = 0; k < count; ++k) {
    int64_t i = first + k;
    if (weight[k] == 0.f) continue;
    if (i < 0 || i >= n) {
      if (p.padding == kZeros) continue;
      i = p.padding == kBorder ? (i < 0 ? 0 : n - 1) : mirrored(i, n, p.align != 0);
    }
    taps->offset[taps->count] = i * p.stride[axis];
    taps->weight[taps->count++] = weight[k];
  }
  return true;
}

inline void add_row(const float* __restrict x, float w, float* __restrict y, int64_t n) {
  for (int64_t c = 0; c < n; ++c) y[c] += x[c] * w;
}

Status query(const Request& r, Need* need) {
  Sampler p;
  EDGERUN_TRY(resolve(r, &p));
  need->params = sizeof p;
  need->units = p.channels ? r.out[0].elements() / p.channels : 0;
  const double side = p.mode == kNearest ? 1 : p.mode == kLinear ? 2 : 4;
  need->work = 2.0 * std::pow(side, p.axes) * static_cast<double>(r.out[0].elements());
  need->bytes = 4.0 * (static_cast<double>(r.in[0].elements()) + 2.0 * static_cast<double>(r.out[0].elements()));
  return Status::ok;
}

Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Sampler*>(params)); }

void run(const Run& r) {
  const Sampler& p = *static_cast<const Sampler*>(r.params);
  const float* grid = r.in[1].as<const float>();
  for (int64_t u = r.begin; u < r.end; ++u) {
    const float* x = r.in[0].as<const float>() + u / p.places * p.image;
    float* y = r.out[0].as<float>() + u * p.channels;
    Taps taps[kMostAxes];
    bool number = true;
    int32_t combinations = 1;
    for (int32_t k = 0; k < p.axes; ++k) {
      number &= taps_of(p, k, grid[u * p.axes + p.axes - 1 - k], &taps[k]);
      combinations *= taps[k].count;
    }
    const float start = number ? 0.f : __builtin_nanf("");
    for (int64_t c = 0; c < p.channels; ++c) y[c] = start;
    for (int32_t i = 0; number && i < combinations; ++i) {
      int64_t offset = 0;
      float weight = 1.f;
      for (int32_t k = p.axes - 1, rest = i; k >= 0; --k) {
        offset += taps[k].offset[rest % taps[k].count];
        weight *= taps[k].weight[rest % taps[k].count];
        rest /= taps[k].count;
      }
      add_row(x + offset, weight, y, p.channels);
    }
  }
}
}  // namespace
extern const Kernel grid_sample_f32_kernel{"grid_sample_f32", query, prepare, run};
EDGERUN_ISA_END
