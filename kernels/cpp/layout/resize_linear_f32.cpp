// resize_linear_f32: y interpolates x linearly in every resized dimension (ONNX Resize, mode linear; not antialiased);
// coordinate rule as in resize.h, positions outside x take its border. Any rank; the dimensions after the last resized
// one (channels) are the vector. Accuracy: 2^k rounded products and sums for k resized dimensions.
#include "resize.h"
#include "runs.h"

EDGERUN_ISA_BEGIN
namespace {
struct Tap {
  int64_t low, high;  // offsets into x; equal where the position falls on an element, so that no neighbour is touched
  float weight;       // of high
};

struct Header {
  int64_t dims[kMaxRank], table[kMaxRank];
  bool active[kMaxRank];
  int64_t inner, units;
  int32_t rank;  // dimensions up to the last resized one
  Tap* taps() { return reinterpret_cast<Tap*>(this + 1); }
  const Tap* taps() const { return reinterpret_cast<const Tap*>(this + 1); }
};

Status resolve(const Request& r, Header* p, bool fill) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  const TensorView &x = r.in[0], &y = r.out[0];
  EDGERUN_TRY(sound(x, DType::f32));
  EDGERUN_TRY(sound(y, DType::f32));
  Axis axes[kMaxRank];
  int64_t coord;
  EDGERUN_TRY(resize_axes(r, axes, &coord));
  p->rank = 0;
  for (int32_t k = 0; k < x.rank && y.elements() > 0; ++k)
    if (!axes[k].same) p->rank = k + 1;
  p->inner = x.span(p->rank, x.rank);
  p->units = y.elements() == 0 ? 0 : 1;
  int64_t at = 0;
  for (int32_t k = 0; k < p->rank; ++k) {
    p->dims[k] = y.dims[k];
    p->table[k] = at;
    p->active[k] = !axes[k].same;
    at += y.dims[k];
    if (at > kMostPositions) return Status::too_large;
    if (k + 1 < p->rank) p->units *= y.dims[k];
    if (!fill) continue;
    const int64_t stride = x.span(k + 1, x.rank);
    for (int64_t i = 0; i < y.dims[k]; ++i) {
      const double from = clamped(axes[k].same ? static_cast<double>(i) : source_of(axes[k], coord, i), x.dims[k]);
      const int64_t low = static_cast<int64_t>(from);
      const float weight = static_cast<float>(from - static_cast<double>(low));
      p->taps()[p->table[k] + i] = {low * stride, (weight > 0.f && low + 1 < x.dims[k] ? low + 1 : low) * stride,
                                    weight};
    }
  }
  return Status::ok;
}

Status query(const Request& r, Need* need) {
  Header p;
  EDGERUN_TRY(resolve(r, &p, false));
  int64_t entries = 0;
  double taps = 1;
  for (int32_t k = 0; k < p.rank; ++k) entries += p.dims[k], taps *= p.active[k] ? 2 : 1;
  need->params = sizeof p + static_cast<size_t>(entries) * sizeof(Tap);
  need->units = p.units;
  need->work = 2 * taps * static_cast<double>(r.out[0].elements());
  need->bytes = 4.0 * static_cast<double>(r.in[0].elements() + r.out[0].elements());
  return Status::ok;
}

Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Header*>(params), true); }

// y = Σ weight·row between two columns; a position on an element (b = 0) must not touch its neighbour: 0·inf is NaN.
inline void mix(const float* __restrict p, const float* __restrict q, float a, float b, float* __restrict y,
                int64_t n) {
  if (b == 0.f)
    for (int64_t c = 0; c < n; ++c) y[c] = p[c] * a;
  else
    for (int64_t c = 0; c < n; ++c) y[c] = p[c] * a + q[c] * b;
}

inline void add_mixed(const float* __restrict p, const float* __restrict q, float a, float b, float* __restrict y,
                      int64_t n) {
  if (b == 0.f)
    for (int64_t c = 0; c < n; ++c) y[c] += p[c] * a;
  else
    for (int64_t c = 0; c < n; ++c) y[c] += p[c] * a + q[c] * b;
}

// The bilinear case in one pass over the channels.
inline void mix4(const float* __restrict p, const float* __restrict q, const float* __restrict s,
                 const float* __restrict u, float a, float b, float v, float w, float* __restrict y, int64_t n) {
  const float pa = a * v, qb = b * v, sa = a * w, ub = b * w;
  for (int64_t c = 0; c < n; ++c) y[c] = (p[c] * pa + q[c] * qb) + (s[c] * sa + u[c] * ub);
}

// One output row: positions along the last resized dimension from `rows` weighted rows of x.
inline void blend(const float* const* row, const float* weight, int32_t rows, const Tap* t, int64_t n, int64_t inner,
                  float* y) {
  for (int64_t k = 0; k < n; ++k, y += inner) {
    const float b = t[k].weight, a = 1.f - b;
    if (rows == 2 && b != 0.f) {
      mix4(row[0] + t[k].low, row[0] + t[k].high, row[1] + t[k].low, row[1] + t[k].high, a, b, weight[0], weight[1], y,
           inner);
      continue;
    }
    mix(row[0] + t[k].low, row[0] + t[k].high, a * weight[0], b * weight[0], y, inner);
    for (int32_t i = 1; i < rows; ++i)
      add_mixed(row[i] + t[k].low, row[i] + t[k].high, a * weight[i], b * weight[i], y, inner);
  }
}

void run(const Run& r) {
  const Header& p = *static_cast<const Header*>(r.params);
  const float* x = r.in[0].as<const float>();
  float* y = r.out[0].as<float>();
  const int32_t last = p.rank - 1;
  const Tap still{0, 0, 0.f};
  const Tap* columns = last < 0 ? &still : p.taps() + p.table[last];
  const int64_t n = last < 0 ? 1 : p.dims[last];
  const float* row[1 << (kMaxRank - 1)];
  float weight[1 << (kMaxRank - 1)];
  for (int64_t u = r.begin; u < r.end; ++u) {
    int32_t rows = 1;
    row[0] = x, weight[0] = 1.f;
    int64_t rest = u;
    for (int32_t k = last - 1; k >= 0; --k) {
      const Tap& t = p.taps()[p.table[k] + rest % p.dims[k]];
      rest /= p.dims[k];
      const bool two = t.high != t.low;
      for (int32_t i = 0; i < rows; ++i) {
        if (two) row[rows + i] = row[i] + t.high, weight[rows + i] = weight[i] * t.weight, weight[i] *= 1.f - t.weight;
        row[i] += t.low;
      }
      if (two) rows *= 2;
    }
    blend(row, weight, rows, columns, n, p.inner, y + u * n * p.inner);
  }
}
}  // namespace
extern const Kernel resize_linear_f32_kernel{"resize_linear_f32", query, prepare, run};
EDGERUN_ISA_END
