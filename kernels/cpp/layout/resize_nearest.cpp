// resize_nearest: y takes the nearest element of x in every dimension (ONNX Resize, mode nearest); coordinate rule as
// in resize.h; nearest: 0 round_prefer_floor, 1 round_prefer_ceil, 2 floor, 3 ceil. Any rank, any dtype by element
// size.
#include "resize.h"
#include "runs.h"

EDGERUN_ISA_BEGIN
namespace {
struct Header {
  int64_t dims[kMaxRank], table[kMaxRank];  // output lengths; start of each dimension's offsets into x
  int64_t inner, units;                     // elements after the last resized dimension; rows
  int32_t rank;                             // dimensions up to the last resized one
  int64_t* offsets() { return reinterpret_cast<int64_t*>(this + 1); }
  const int64_t* offsets() const { return reinterpret_cast<const int64_t*>(this + 1); }
};

inline double nearest_of(double x, int64_t rule) {
  switch (rule) {
    case 0: return std::ceil(x - 0.5);
    case 1: return std::floor(x + 0.5);
    case 2: return std::floor(x);
    default: return std::ceil(x);
  }
}

Status resolve(const Request& r, size_t bytes, Header* p, bool fill) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  const TensorView &x = r.in[0], &y = r.out[0];
  EDGERUN_TRY(sound_size(x, bytes));
  EDGERUN_TRY(sound(y, x.dtype));
  Axis axes[kMaxRank];
  int64_t coord, rule;
  EDGERUN_TRY(resize_axes(r, axes, &coord));
  if (!ints(r, "nearest", 1, &rule) || rule < 0 || rule > 3) return Status::bad_attribute;
  p->rank = 0;
  for (int32_t k = 0; k < x.rank && y.elements() > 0; ++k)
    if (!axes[k].same) p->rank = k + 1;
  p->inner = x.span(p->rank, x.rank);
  p->units = y.elements() == 0 ? 0 : 1;
  int64_t at = 0;
  for (int32_t k = 0; k < p->rank; ++k) {
    p->dims[k] = y.dims[k];
    p->table[k] = at;
    at += y.dims[k];
    if (at > kMostPositions) return Status::too_large;
    if (k + 1 < p->rank) p->units *= y.dims[k];
    if (!fill) continue;
    const int64_t stride = x.span(k + 1, x.rank);
    for (int64_t i = 0; i < y.dims[k]; ++i) {
      const double from = axes[k].same ? static_cast<double>(i) : nearest_of(source_of(axes[k], coord, i), rule);
      p->offsets()[p->table[k] + i] = static_cast<int64_t>(clamped(from, x.dims[k])) * stride;
    }
  }
  return Status::ok;
}

template <class T> struct Kernels {
  static Status query(const Request& r, Need* need) {
    Header p;
    EDGERUN_TRY(resolve(r, sizeof(T), &p, false));
    int64_t entries = 0;
    for (int32_t k = 0; k < p.rank; ++k) entries += p.dims[k];
    need->params = sizeof p + static_cast<size_t>(entries) * sizeof(int64_t);
    need->units = p.units;
    need->work = static_cast<double>(r.out[0].elements());
    need->bytes = 2.0 * sizeof(T) * static_cast<double>(r.out[0].elements());
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    return resolve(r, sizeof(T), static_cast<Header*>(params), true);
  }
  static void run(const Run& r) {
    const Header& p = *static_cast<const Header*>(r.params);
    const T* x = r.in[0].as<const T>();
    T* y = r.out[0].as<T>();
    const int32_t last = p.rank - 1;
    const int64_t n = last < 0 ? 1 : p.dims[last];
    const int64_t zero = 0, *columns = last < 0 ? &zero : p.offsets() + p.table[last];
    for (int64_t u = r.begin; u < r.end; ++u) {
      int64_t rest = u;
      const T* from = x;
      for (int32_t k = last - 1; k >= 0; --k) {
        from += p.offsets()[p.table[k] + rest % p.dims[k]];
        rest /= p.dims[k];
      }
      T* to = y + u * n * p.inner;
      if (p.inner == 1)
        for (int64_t k = 0; k < n; ++k) to[k] = from[columns[k]];
      else
        for (int64_t k = 0; k < n; ++k)
          copy_run(reinterpret_cast<char*>(to + k * p.inner), reinterpret_cast<const char*>(from + columns[k]),
                   static_cast<size_t>(p.inner) * sizeof(T));
    }
  }
};
}  // namespace
#define EDGERUN_NEAREST(OP, SUFFIX, T) \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, Kernels<T>::query, Kernels<T>::prepare, Kernels<T>::run};
EDGERUN_NEAREST(resize_nearest, x8, uint8_t)
EDGERUN_NEAREST(resize_nearest, x16, uint16_t)
EDGERUN_NEAREST(resize_nearest, x32, uint32_t)
EDGERUN_NEAREST(resize_nearest, x64, uint64_t)
EDGERUN_ISA_END
