// batch_norm_f32: y = act(x·scale + shift), one scale and shift a channel, x[…,C] channels-last; the planner folded
// mean and variance into them. One rounding where the machine has a fused multiply-add. NaN stays NaN; in place
// allowed; checked.
#include <cstring>

#include "elementwise/activation_rows.h"

EDGERUN_ISA_BEGIN
namespace {
struct Params {
  int64_t channels, row, block;  // scale and shift are repeated to `row` elements; a unit is `block`, a multiple of row
  ActParams act;
};

Status resolve(const Request& r, Params* p) {
  EDGERUN_TRY(arity(r, 3, 3, 1));
  for (int32_t k = 0; k < 3; ++k) EDGERUN_TRY(sound(r.in[k], DType::f32));
  EDGERUN_TRY(sound(r.out[0], DType::f32));
  const TensorView& x = r.in[0];
  if (!same_dims(x, r.out[0])) return Status::bad_shape;
  if (x.rank == 0) return Status::bad_rank;
  p->channels = x.last();
  for (int32_t k = 1; k < 3; ++k)
    if (r.in[k].rank != 1 || r.in[k].dims[0] != p->channels) return Status::bad_shape;
  EDGERUN_TRY(read_activation(r.attrs, &p->act));
  const int64_t c = most(p->channels, 1);
  p->row = c >= kRepeat / 4 ? c : ceil_div(kRepeat, c) * c;
  p->block = p->row >= kBlock ? p->row : kBlock / p->row * p->row;
  return Status::ok;
}

Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, &p));
  const double n = static_cast<double>(r.out[0].elements());
  need->params = sizeof p;
  need->scratch = p.row == p.channels ? 0 : 2 * static_cast<size_t>(p.row) * sizeof(float);
  need->units = ceil_div(r.out[0].elements(), p.block);
  need->work = (p.act.code > kLeakyRelu ? 24.0 : 2.0) * n;
  need->bytes = 8.0 * n;
  return Status::ok;
}

Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Params*>(params)); }

inline void affine(const float* x, const float* scale, const float* shift, float* y, int64_t n) {
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) storeu(y + k, fma(loadu(x + k), loadu(scale + k), loadu(shift + k)));
  if (k < n) {
    const int rest = static_cast<int>(n - k);
    const vf v = fma(load_partial(x + k, rest), load_partial(scale + k, rest), load_partial(shift + k, rest));
    store_partial(y + k, v, rest);
  }
}

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const float *x = r.in[0].as<const float>(), *scale = r.in[1].as<const float>(), *shift = r.in[2].as<const float>();
  float* y = r.out[0].as<float>();
  if (r.begin >= r.end) return;  // no channels: nothing to repeat
  if (p.row != p.channels) {
    float *s = static_cast<float*>(r.scratch), *t = s + p.row;
    const size_t bytes = static_cast<size_t>(p.channels) * sizeof(float);
    for (int64_t k = 0; k < p.row; k += p.channels) memcpy(s + k, scale, bytes), memcpy(t + k, shift, bytes);
    scale = s, shift = t;
  }
  const int64_t end = least(r.end * p.block, r.out[0].elements());
  for (int64_t k = r.begin * p.block; k < end; k += p.row) {
    const int64_t n = least(p.row, end - k);
    affine(x + k, scale, shift, y + k, n);
    if (p.act.code != kNone) apply_activation(p.act, y + k, y + k, k, n, r.sink);
  }
}
}  // namespace
extern const Kernel batch_norm_f32_kernel{"batch_norm_f32", query, prepare, run};
EDGERUN_ISA_END
