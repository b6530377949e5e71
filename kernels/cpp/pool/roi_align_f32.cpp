// roi_align_f32: y[r, i, j, :] is the mean (mode 0) or the largest term (mode 1) of samples of x[batch_indices[r]] on a grid over bin
// (i, j) of the region rois[r] = (x1, y1, x2, y2) (He et al. 2017, Mask R-CNN, sec. 3). x[N,H,W,C], rois[R,4], batch_indices[R] i64,
// y[R,OH,OW,C]. A sample is bilinear; a place beyond one element around x counts as 0. In mode 1 a term is one of a sample's four
// weighted neighbours, as in the ONNX reference. sampling_ratio: samples along a bin's side, 0: as many as elements, rounded up.
// half_pixel: the region is moved by half an element, and may then be smaller than one. Regions that are no numbers give NaN.
// A batch index out of range gives zeros, and it is reported. A unit is one bin.
#include <cmath>

#include "layout/indices.h"

EDGERUN_ISA_BEGIN
namespace {
constexpr int64_t kMostSamples = 1024;

struct Rois {
  int64_t batch, height, width, channels, rows, columns;  // of x, of the bins
  int64_t sampling, largest, half;
  float scale;
  Indices index;
};

Status resolve(const Request& r, Rois* p) {
  EDGERUN_TRY(arity(r, 3, 3, 1));
  const TensorView &x = r.in[0], &rois = r.in[1], &index = r.in[2], &y = r.out[0];
  EDGERUN_TRY(sound(x, DType::f32));
  EDGERUN_TRY(sound(rois, DType::f32));
  EDGERUN_TRY(sound_indices(index));
  EDGERUN_TRY(sound(y, DType::f32));
  if (x.rank != 4 || y.rank != 4 || rois.rank != 2 || index.rank != 1) return Status::bad_rank;
  if (rois.dims[1] != 4 || rois.dims[0] != index.dims[0] || y.dims[0] != rois.dims[0] || y.dims[3] != x.dims[3])
    return Status::bad_shape;
  if (!ints(r, "mode", 1, &p->largest) || p->largest < 0 || p->largest > 1) return Status::bad_attribute;
  if (!ints(r, "half_pixel", 1, &p->half) || p->half < 0 || p->half > 1) return Status::bad_attribute;
  if (!ints(r, "sampling_ratio", 1, &p->sampling) || p->sampling < 0) return Status::bad_attribute;
  if (p->sampling > kMostSamples) return Status::unsupported;
  if (!floats(r, "spatial_scale", 1, &p->scale) || !std::isfinite(p->scale)) return Status::bad_attribute;
  p->batch = x.dims[0], p->height = x.dims[1], p->width = x.dims[2], p->channels = x.dims[3];
  p->rows = y.dims[1], p->columns = y.dims[2];
  p->index.wide = index.dtype == DType::i64;
  for (int64_t k = 0; index.data && k < index.dims[0]; ++k)
    if (!in_range(p->index.at(index.data, k), p->batch)) return Status::bad_index;
  return Status::ok;
}

Status query(const Request& r, Need* need) {
  Rois p;
  EDGERUN_TRY(resolve(r, &p));
  need->params = sizeof p;
  need->indexed = !r.in[2].data;
  need->units = r.out[0].span(0, 3);
  const double side = p.sampling ? static_cast<double>(p.sampling) : 2.0;
  need->work = 8.0 * side * side * static_cast<double>(r.out[0].elements());
  need->bytes = 4.0 * static_cast<double>(r.in[0].elements() + r.out[0].elements());
  return Status::ok;
}

Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Rois*>(params)); }

// The samples of one bin along one axis: `count` of them; those in [first, last) may lie on x, the others count as 0.
struct Side {
  float start, bin;
  double count;
  int64_t size, first, last;

  EDGERUN_INLINE float at(int64_t k) const {
    return start + (static_cast<float>(k) + 0.5f) * bin / static_cast<float>(count);
  }
};

inline Side side_of(float start, float end, int64_t bins, int64_t at, int64_t size, const Rois& p) {
  float extent = end - start;
  if (!p.half && extent < 1.f) extent = 1.f;
  Side s;
  s.bin = extent / static_cast<float>(bins);
  s.start = start + static_cast<float>(at) * s.bin;
  s.count = p.sampling ? static_cast<double>(p.sampling) : static_cast<double>(std::ceil(extent / static_cast<float>(bins)));
  s.size = size;
  if (s.count < 0) s.count = 0;
  if (s.count <= static_cast<double>(kMostSamples)) {
    s.first = 0, s.last = static_cast<int64_t>(s.count);
    return s;
  }
  // A region far larger than x: steps are about one element long, so few of them lie on x.
  const double step = static_cast<double>(s.bin) / s.count, from = (-1.0 - s.start) / step - 2, to = (size - s.start) / step + 2;
  const double most = s.count < 9e15 ? s.count : 9e15;  // what an integer holds
  s.first = static_cast<int64_t>(from < 0 ? 0 : from < most ? from : most);
  s.last = static_cast<int64_t>(to < static_cast<double>(s.first) ? static_cast<double>(s.first) : to < most ? to : most);
  return s;
}

struct Neighbours {
  int64_t low, high;
  float near, far;  // weights of low and high
};

inline bool neighbours_of(float v, int64_t size, Neighbours* n) {
  if (!(v >= -1.f && v <= static_cast<float>(size)) || size == 0) return false;
  if (v < 0) v = 0;
  n->low = static_cast<int64_t>(v);
  if (n->low >= size - 1) {
    n->low = n->high = size - 1;
    v = static_cast<float>(n->low);
  } else {
    n->high = n->low + 1;
  }
  n->far = v - static_cast<float>(n->low), n->near = 1.f - n->far;
  return true;
}

inline float larger(float a, float b) { return a >= b || a != a ? a : b; }  // NaN wins

struct Sums {
  float* y;
  int64_t channels;
  bool largest, empty;

  void zero() {
    if (!largest) return;
    for (int64_t c = 0; c < channels; ++c) y[c] = empty ? 0.f : larger(y[c], 0.f);
    empty = false;
  }
  void add(const float* const* x, const float* w) {
    if (!largest) {
      for (int64_t c = 0; c < channels; ++c) y[c] += w[0] * x[0][c] + w[1] * x[1][c] + w[2] * x[2][c] + w[3] * x[3][c];
      return;
    }
    for (int64_t c = 0; c < channels; ++c) {
      const float term = larger(larger(w[0] * x[0][c], w[1] * x[1][c]), larger(w[2] * x[2][c], w[3] * x[3][c]));
      y[c] = empty ? term : larger(y[c], term);
    }
    empty = false;
  }
};

void run(const Run& r) {
  const Rois& p = *static_cast<const Rois*>(r.params);
  for (int64_t u = r.begin; u < r.end; ++u) {
    const int64_t column = u % p.columns, row = u / p.columns % p.rows, region = u / p.columns / p.rows;
    const int64_t image = checked_index(r, p.index.at(r.in[2].data, region), p.batch, region);
    const float *roi = r.in[1].as<const float>() + 4 * region, offset = p.half ? 0.5f : 0.f;
    float* y = r.out[0].as<float>() + u * p.channels;
    float box[4];
    bool number = true;
    for (int32_t k = 0; k < 4; ++k) box[k] = roi[k] * p.scale - offset, number &= std::isfinite(box[k]);
    number &= std::isfinite(box[2] - box[0]) && std::isfinite(box[3] - box[1]);
    for (int64_t c = 0; c < p.channels; ++c) y[c] = number || image < 0 ? 0.f : __builtin_nanf("");
    if (!number || image < 0) continue;
    const float* x = r.in[0].as<const float>() + image * p.height * p.width * p.channels;
    const Side h = side_of(box[1], box[3], p.rows, row, p.height, p), w = side_of(box[0], box[2], p.columns, column, p.width, p);
    Sums sums{y, p.channels, p.largest != 0, true};
    bool outside = static_cast<double>(h.last - h.first) * static_cast<double>(w.last - w.first) < h.count * w.count;
    for (int64_t i = h.first; i < h.last; ++i) {
      Neighbours a{}, b{};
      const bool inside = neighbours_of(h.at(i), p.height, &a);
      for (int64_t j = w.first; j < w.last; ++j) {
        if (!inside || !neighbours_of(w.at(j), p.width, &b)) {
          outside = true;
          continue;
        }
        const float *low = x + a.low * p.width * p.channels, *high = x + a.high * p.width * p.channels;
        const float* const at[4] = {low + b.low * p.channels, low + b.high * p.channels, high + b.low * p.channels,
                                    high + b.high * p.channels};
        const float weight[4] = {a.near * b.near, a.near * b.far, a.far * b.near, a.far * b.far};
        sums.add(at, weight);
      }
    }
    if (outside) sums.zero();
    const double count = h.count * w.count;
    if (!p.largest && count > 1)
      for (int64_t c = 0; c < p.channels; ++c) y[c] = static_cast<float>(y[c] / count);
  }
}
}  // namespace
extern const Kernel roi_align_f32_kernel{"roi_align_f32", query, prepare, run};
EDGERUN_ISA_END
