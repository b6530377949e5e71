// resample_f32: along one axis every element of y is a weighted sum of elements of x, y[o] = Σ_t weight[o, t] · x[index[o, t]];
// index [m, taps] i64 and weight [m, taps] are known ahead of time. Terms of weight 0 are left out. A unit is one output row.
#include "operand.h"

EDGERUN_ISA_BEGIN
namespace {
struct Line {
  int64_t n, m, taps, inner;
};

Status resolve(const Request& r, Line* p) {
  EDGERUN_TRY(arity(r, 3, 3, 1));
  const TensorView &x = r.in[0], &index = r.in[1], &weight = r.in[2], &y = r.out[0];
  EDGERUN_TRY(sound(x, DType::f32));
  EDGERUN_TRY(sound(index, DType::i64));
  EDGERUN_TRY(sound(weight, DType::f32));
  EDGERUN_TRY(sound(y, DType::f32));
  int32_t axis;
  EDGERUN_TRY(axis_of(r, x.rank, &axis));
  if (y.rank != x.rank || index.rank != 2) return Status::bad_rank;
  if (!same_dims(index, weight)) return Status::bad_shape;
  for (int32_t k = 0; k < x.rank; ++k)
    if (y.dims[k] != (k == axis ? index.dims[0] : x.dims[k])) return Status::bad_shape;
  *p = {x.dims[axis], index.dims[0], index.dims[1], x.span(axis + 1, x.rank)};
  if (index.elements() > 0 && !index.data) return Status::not_constant;
  for (int64_t k = 0; k < index.elements(); ++k)
    if (index.as<const int64_t>()[k] < 0 || index.as<const int64_t>()[k] >= p->n) return Status::bad_index;
  return Status::ok;
}

Status query(const Request& r, Need* need) {
  Line p;
  EDGERUN_TRY(resolve(r, &p));
  need->params = sizeof p;
  need->units = p.inner ? r.out[0].elements() / p.inner : 0;
  need->work = 2.0 * static_cast<double>(p.taps) * static_cast<double>(r.out[0].elements());
  need->bytes = 4.0 * static_cast<double>(r.in[0].elements() + r.out[0].elements());
  return Status::ok;
}

Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Line*>(params)); }

inline void add_row(const float* __restrict x, float w, float* __restrict y, int64_t n) {
  for (int64_t c = 0; c < n; ++c) y[c] += x[c] * w;
}

void run(const Run& r) {
  const Line& p = *static_cast<const Line*>(r.params);
  const int64_t* index = r.in[1].as<const int64_t>();
  const float* weight = r.in[2].as<const float>();
  for (int64_t u = r.begin; u < r.end; ++u) {
    const int64_t o = u % p.m;
    const float* x = r.in[0].as<const float>() + u / p.m * p.n * p.inner;
    float* y = r.out[0].as<float>() + u * p.inner;
    for (int64_t c = 0; c < p.inner; ++c) y[c] = 0.f;
    for (int64_t t = o * p.taps; t < (o + 1) * p.taps; ++t)
      if (weight[t] != 0.f) add_row(x + index[t] * p.inner, weight[t], y, p.inner);
  }
}
}  // namespace
extern const Kernel resample_f32_kernel{"resample_f32", query, prepare, run};
EDGERUN_ISA_END
