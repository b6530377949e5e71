// Position of the extreme value along one axis, for arg_max and arg_min. The first of equals, or with select_last = 1
// the last; a NaN is more extreme than anything, and the first NaN wins in either case.
#pragma once
#include "operand.h"

namespace edgerun::EDGERUN_ISA {

struct ArgReduce {
  int64_t n, inner, blocks, units;
  bool last;
};

inline constexpr int64_t kArgColumns = 64;

inline Status arg_resolve(const Request& r, ArgReduce* p) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  const TensorView &x = r.in[0], &y = r.out[0];
  EDGERUN_TRY(sound(x, DType::f32));
  EDGERUN_TRY(sound(y, DType::i64));
  int32_t axis;
  EDGERUN_TRY(axis_of(r, x.rank, &axis));
  if (y.rank != x.rank && y.rank != x.rank - 1) return Status::bad_rank;
  const int32_t shift = x.rank - y.rank;
  for (int32_t k = 0; k < x.rank; ++k) {
    if (k == axis) {
      if (shift == 0 && y.dims[k] != 1) return Status::bad_shape;
    } else if (y.dims[k > axis ? k - shift : k] != x.dims[k]) {
      return Status::bad_shape;
    }
  }
  p->n = x.dims[axis];
  if (p->n == 0 && y.elements() > 0) return Status::bad_shape;
  p->inner = x.span(axis + 1, x.rank);
  p->blocks = ceil_div(p->inner, kArgColumns);
  p->units = x.span(0, axis) * p->blocks;
  p->last = r.attrs.i("select_last") != 0;
  return Status::ok;
}

// better(a, b): a is more extreme than b; neither is NaN.
template <class Better> struct ArgKernel {
  static Status query(const Request& r, Need* need) {
    ArgReduce p;
    EDGERUN_TRY(arg_resolve(r, &p));
    need->params = sizeof p;
    need->units = p.units;
    need->work = static_cast<double>(r.in[0].elements());
    need->bytes = 4.0 * static_cast<double>(r.in[0].elements());
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    return arg_resolve(r, static_cast<ArgReduce*>(params));
  }
  static void run(const Run& r) {
    const ArgReduce& p = *static_cast<const ArgReduce*>(r.params);
    for (int64_t u = r.begin; u < r.end; ++u) {
      const int64_t outer = u / p.blocks, block = u % p.blocks * kArgColumns;
      const float* x = r.in[0].as<const float>() + outer * p.n * p.inner + block;
      int64_t* at = r.out[0].as<int64_t>() + outer * p.inner + block;
      const int64_t width = least(kArgColumns, p.inner - block);
      float best[kArgColumns];
      for (int64_t c = 0; c < width; ++c) best[c] = x[c], at[c] = 0;
      for (int64_t k = 1; k < p.n; ++k) {
        x += p.inner;
        for (int64_t c = 0; c < width; ++c) {
          const float b = best[c], v = x[c];
          const bool take = b == b && (v != v || Better::than(v, b) || (p.last && v == b));
          if (take) best[c] = v, at[c] = k;
        }
      }
    }
  }
};

}  // namespace edgerun::EDGERUN_ISA
