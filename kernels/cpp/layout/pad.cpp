// pad: y = x with pads[k] elements before and pads[rank+k] after dimension k. Modes: 0 constant (value operand, or
// zero), 1 reflect, 2 edge, 3 wrap. Negative pads remove elements, and are applied before the positive ones are filled
// from what is left. Reflecting or wrapping further than the dimension is long repeats. Any dtype by element size.
#include "runs.h"

EDGERUN_ISA_BEGIN
namespace {
struct Pad {
  int64_t out[kMaxRank], keep[kMaxRank], skip[kMaxRank], before[kMaxRank];  // keep: source elements left after cropping
  int64_t stride[kMaxRank];                                                 // of x, in elements
  int64_t inner;  // elements after the last padded dimension, copied as one run
  int32_t rank;   // dimensions up to the last padded one
  int32_t mode;
  int64_t units;  // rows: all dimensions but the last of those
};

Status resolve(const Request& r, size_t bytes, Pad* p) {
  EDGERUN_TRY(arity(r, 1, 2, 1));
  const TensorView &x = r.in[0], &y = r.out[0];
  EDGERUN_TRY(sound_size(x, bytes));
  EDGERUN_TRY(sound(y, x.dtype));
  if (r.has(1)) {
    EDGERUN_TRY(sound(r.in[1], x.dtype));
    if (r.in[1].elements() != 1) return Status::bad_shape;
  }
  if (x.rank != y.rank) return Status::bad_rank;
  int64_t pads[2 * kMaxRank], mode;
  if (!ints(r, "pads", 2 * x.rank, pads) || !ints(r, "mode", 1, &mode)) return Status::bad_attribute;
  if (mode < 0 || mode > 3) return Status::bad_attribute;
  p->mode = static_cast<int32_t>(mode);
  p->rank = 0;
  p->inner = 1;
  p->units = 1;
  for (int32_t k = 0; k < x.rank; ++k) {
    const int64_t a = pads[k], b = pads[k + x.rank], d = x.dims[k], limit = int64_t{1} << 56;
    if (a > limit || a < -d || b > limit || b < -d) return Status::bad_attribute;
    const int64_t crop = (a < 0 ? -a : 0) + (b < 0 ? -b : 0);
    if (crop > d) return Status::bad_attribute;
    if (y.dims[k] != d + a + b) return Status::bad_shape;
    if (mode != 0 && d == crop && y.dims[k] > 0) return Status::bad_shape;
    p->out[k] = y.dims[k], p->keep[k] = d - crop, p->skip[k] = a < 0 ? -a : 0, p->before[k] = a > 0 ? a : 0;
    p->stride[k] = x.span(k + 1, x.rank);
    if (a || b) p->rank = k + 1;
  }
  p->inner = x.span(p->rank, x.rank);
  for (int32_t k = 0; k + 1 < p->rank; ++k) p->units *= p->out[k];
  if (y.elements() == 0) p->units = 0;
  return Status::ok;
}

// Index into what was kept of a dimension for output coordinate `at`; -1: the constant.
inline int64_t source(const Pad& p, int32_t k, int64_t at) {
  const int64_t i = at - p.before[k], n = p.keep[k];
  if (i >= 0 && i < n) return i;
  switch (p.mode) {
    case 0: return -1;
    case 2: return i < 0 ? 0 : n - 1;
    case 3: return (i % n + n) % n;
    default: {
      if (n == 1) return 0;
      const int64_t period = 2 * (n - 1), m = (i % period + period) % period;
      return m < n ? m : period - m;
    }
  }
}

template <class T> inline void fill(T* y, int64_t n, T v) {
  for (int64_t k = 0; k < n; ++k) y[k] = v;
}

template <class T> inline void copy(T* y, const T* x, int64_t n) {
  copy_run(reinterpret_cast<char*>(y), reinterpret_cast<const char*>(x), static_cast<size_t>(n) * sizeof(T));
}

template <class T> struct Kernels {
  static Status query(const Request& r, Need* need) {
    Pad p;
    EDGERUN_TRY(resolve(r, sizeof(T), &p));
    need->params = sizeof p;
    need->units = p.units;
    need->work = static_cast<double>(r.out[0].elements());
    need->bytes = 2.0 * sizeof(T) * static_cast<double>(r.out[0].elements());
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    return resolve(r, sizeof(T), static_cast<Pad*>(params));
  }
  static void run(const Run& r) {
    const Pad& p = *static_cast<const Pad*>(r.params);
    const T* x = r.in[0].as<const T>();
    T* y = r.out[0].as<T>();
    const T value = r.n_in > 1 && !r.in[1].absent() ? *r.in[1].as<const T>() : T{0};
    const int32_t last = p.rank - 1;
    const int64_t row = last < 0 ? p.inner : p.out[last] * p.inner;
    for (int64_t u = r.begin; u < r.end; ++u) {
      T* to = y + u * row;
      int64_t from = 0, rest = u;
      bool constant = false;
      for (int32_t k = last - 1; k >= 0; --k) {
        const int64_t i = source(p, k, rest % p.out[k]);
        rest /= p.out[k];
        constant |= i < 0;
        from += (i + p.skip[k]) * p.stride[k];
      }
      if (last < 0) {
        copy(to, x, row);
      } else if (constant) {
        fill(to, row, value);
      } else {
        const T* of = x + from + p.skip[last] * p.stride[last];
        const int64_t n = p.out[last], a = least(n, p.before[last]), kept = least(p.keep[last], n - a);
        if (p.mode == 0) {
          fill(to, a * p.inner, value);
          fill(to + (a + kept) * p.inner, (n - a - kept) * p.inner, value);
        } else {
          for (int64_t k = 0; k < a; ++k) copy(to + k * p.inner, of + source(p, last, k) * p.inner, p.inner);
          for (int64_t k = a + kept; k < n; ++k) copy(to + k * p.inner, of + source(p, last, k) * p.inner, p.inner);
        }
        copy(to + a * p.inner, of, kept * p.inner);
      }
    }
  }
};
}  // namespace
#define EDGERUN_PAD(OP, SUFFIX, T) \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, Kernels<T>::query, Kernels<T>::prepare, Kernels<T>::run};
EDGERUN_PAD(pad, x8, uint8_t)
EDGERUN_PAD(pad, x16, uint16_t)
EDGERUN_PAD(pad, x32, uint32_t)
EDGERUN_PAD(pad, x64, uint64_t)
EDGERUN_ISA_END
