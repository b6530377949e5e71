// layer_norm_f32: y = (x − mean) / √(variance + epsilon) · scale + bias over the dimensions from `axis` on (population
// variance, in two passes). scale and bias have as many elements as those dimensions. NaN makes its row NaN; in place
// allowed. Accuracy: sums go to f64 every kFlush vectors; about 8 eps of the centred row's largest value.
#include "operand.h"
#include "simd.h"

EDGERUN_ISA_BEGIN
namespace {
constexpr int64_t kFlush = 64;

struct Params {
  int64_t rows, n;
  float epsilon;
  bool bias;
};

Status resolve(const Request& r, Params* p) {
  EDGERUN_TRY(arity(r, 2, 3, 1));
  EDGERUN_TRY(sound(r.in[0], DType::f32));
  EDGERUN_TRY(sound(r.in[1], DType::f32));
  EDGERUN_TRY(sound(r.out[0], DType::f32));
  const TensorView& x = r.in[0];
  if (!same_dims(x, r.out[0])) return Status::bad_shape;
  if (x.rank == 0) return Status::bad_rank;
  const int64_t a = r.attrs.i("axis", -1);
  if (a < -x.rank || a >= x.rank) return Status::bad_attribute;
  const int32_t axis = static_cast<int32_t>(a < 0 ? a + x.rank : a);
  *p = {x.span(0, axis), x.span(axis, x.rank), r.attrs.f("epsilon", 1e-5f), r.has(2)};
  if (r.in[1].elements() != p->n) return Status::bad_shape;
  if (p->bias) {
    EDGERUN_TRY(sound(r.in[2], DType::f32));
    if (r.in[2].elements() != p->n) return Status::bad_shape;
  }
  return Status::ok;
}

Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, &p));
  need->params = sizeof p;
  need->units = p.n ? p.rows : 0;
  need->work = 8.0 * static_cast<double>(r.in[0].elements());
  need->bytes = 8.0 * static_cast<double>(r.in[0].elements());
  return Status::ok;
}

Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Params*>(params)); }

// Σ x, or with kSquared Σ (x − mean)².
template <bool kSquared> double sum_of(const float* x, int64_t n, vf mean) {
  double total = 0;
  while (n > 0) {
    vf sum[2] = {zero(), zero()};
    int64_t steps = least(n / (2 * kLanes), kFlush);
    n -= steps * 2 * kLanes;
    for (; steps > 0; --steps, x += 2 * kLanes)
      for (int k = 0; k < 2; ++k) {
        const vf v = sub(loadu(x + k * kLanes), mean);
        sum[k] = kSquared ? fma(v, v, sum[k]) : add(sum[k], v);
      }
    for (; n > 0 && n < 2 * kLanes; x += kLanes, n -= kLanes) {
      const int rest = static_cast<int>(least(kLanes, n));
      const vf v = as_float(as_int(sub(load_partial(x, rest), mean)) & first_lanes(rest));
      sum[0] = kSquared ? fma(v, v, sum[0]) : add(sum[0], v);
    }
    total += static_cast<double>(reduce_add(add(sum[0], sum[1])));
  }
  return total;
}

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const float *scale = r.in[1].as<const float>(), *bias = p.bias ? r.in[2].as<const float>() : nullptr;
  const double count = static_cast<double>(p.n);
  for (int64_t u = r.begin; u < r.end; ++u) {
    const float* x = r.in[0].as<const float>() + u * p.n;
    float* y = r.out[0].as<float>() + u * p.n;
    const vf mean = broadcast(static_cast<float>(sum_of<false>(x, p.n, zero()) / count));
    const double variance = sum_of<true>(x, p.n, mean) / count;
    const vf inverse = broadcast(static_cast<float>(1.0 / __builtin_sqrt(variance + static_cast<double>(p.epsilon))));
    for (int64_t k = 0; k < p.n; k += kLanes) {
      const int rest = static_cast<int>(least(kLanes, p.n - k));
      const vf v = mul(sub(load_partial(x + k, rest), mean), inverse), s = load_partial(scale + k, rest);
      store_partial(y + k, bias ? fma(v, s, load_partial(bias + k, rest)) : mul(v, s), rest);
    }
  }
}
}  // namespace
extern const Kernel layer_norm_f32_kernel{"layer_norm_f32", query, prepare, run};
EDGERUN_ISA_END
