// gather: y[outer, i…, inner] = x[outer, indices[i…], inner] along `axis`. Negative indices count from the end.
// An index outside [-dim, dim) never reads: its output slice is filled with zeros, and it is reported. Indices are i64 or
// i32; data of any dtype by element size.
#include <cstring>

#include "indices.h"
#include "runs.h"

EDGERUN_ISA_BEGIN
namespace {
struct Gather {
  int64_t dim, count, inner;  // length of the axis, number of indices, elements after the axis
  Indices index;
};

Status resolve(const Request& r, size_t bytes, Gather* p) {
  EDGERUN_TRY(arity(r, 2, 2, 1));
  const TensorView &x = r.in[0], &index = r.in[1], &y = r.out[0];
  EDGERUN_TRY(sound_size(x, bytes));
  EDGERUN_TRY(sound(y, x.dtype));
  EDGERUN_TRY(sound_indices(index));
  int32_t axis;
  EDGERUN_TRY(axis_of(r, x.rank, &axis));
  if (y.rank != x.rank - 1 + index.rank) return Status::bad_rank;
  for (int32_t k = 0; k < y.rank; ++k) {
    const int64_t want = k < axis                ? x.dims[k]
                         : k < axis + index.rank ? index.dims[k - axis]
                                                 : x.dims[k - index.rank + 1];
    if (y.dims[k] != want) return Status::bad_shape;
  }
  *p = {x.dims[axis], index.elements(), x.span(axis + 1, x.rank), {index.dtype == DType::i64}};
  for (int64_t k = 0; index.data && k < p->count; ++k)
    if (!in_range(p->index.at(index.data, k), p->dim)) return Status::bad_index;
  return Status::ok;
}

template <class T> struct Kernels {
  static Status query(const Request& r, Need* need) {
    Gather p;
    EDGERUN_TRY(resolve(r, sizeof(T), &p));
    need->params = sizeof p;
    need->indexed = !r.in[1].data;
    need->units = p.inner ? r.out[0].elements() / p.inner : 0;
    need->work = static_cast<double>(r.out[0].elements());
    need->bytes = 2.0 * sizeof(T) * static_cast<double>(r.out[0].elements());
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    return resolve(r, sizeof(T), static_cast<Gather*>(params));
  }
  static void run(const Run& r) {
    const Gather& p = *static_cast<const Gather*>(r.params);
    const T* x = r.in[0].as<const T>();
    T* y = r.out[0].as<T>();
    const size_t bytes = static_cast<size_t>(p.inner) * sizeof(T);
    int64_t outer = p.count ? r.begin / p.count : 0, i = p.count ? r.begin % p.count : 0;
    for (int64_t u = r.begin; u < r.end; ++u) {
      const int64_t at = checked_index(r, p.index.at(r.in[1].data, i), p.dim, i);
      T* to = y + u * p.inner;
      if (at < 0)
        memset(to, 0, bytes);
      else if (p.inner == 1)
        *to = x[outer * p.dim + at];
      else
        copy_run(reinterpret_cast<char*>(to), reinterpret_cast<const char*>(x + (outer * p.dim + at) * p.inner), bytes);
      if (++i == p.count) i = 0, ++outer;
    }
  }
};
}  // namespace
#define EDGERUN_GATHER(OP, SUFFIX, T) \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, Kernels<T>::query, Kernels<T>::prepare, Kernels<T>::run};
EDGERUN_GATHER(gather, x8, uint8_t)
EDGERUN_GATHER(gather, x16, uint16_t)
EDGERUN_GATHER(gather, x32, uint32_t)
EDGERUN_GATHER(gather, x64, uint64_t)
EDGERUN_ISA_END
