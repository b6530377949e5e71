// cum_sum: y[k] = Σ over j <= k of x[j] along one axis; exclusive: j < k; reverse: from the end. Floats are summed in f64, integers
// wrap. A unit is one line. NaN and what follows it are NaN.
#include "operand.h"

EDGERUN_ISA_BEGIN
namespace {
struct Lines {
  int64_t n, inner;
  bool exclusive, reverse;
};

Status resolve(const Request& r, DType dtype, Lines* p) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  EDGERUN_TRY(sound(r.in[0], dtype));
  EDGERUN_TRY(sound(r.out[0], dtype));
  if (!same_dims(r.in[0], r.out[0])) return Status::bad_shape;
  int32_t axis;
  EDGERUN_TRY(axis_of(r, r.in[0].rank, &axis));
  *p = {r.in[0].dims[axis], r.in[0].span(axis + 1, r.in[0].rank), r.attrs.i("exclusive") != 0, r.attrs.i("reverse") != 0};
  return Status::ok;
}

template <class T, class Total, DType kDType> struct Kernels {
  static Status query(const Request& r, Need* need) {
    Lines p;
    EDGERUN_TRY(resolve(r, kDType, &p));
    const int64_t n = r.in[0].elements();
    need->params = sizeof p;
    need->units = n ? n / p.n : 0;
    need->work = 2.0 * static_cast<double>(n);
    need->bytes = 2.0 * sizeof(T) * static_cast<double>(n);
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) { return resolve(r, kDType, static_cast<Lines*>(params)); }
  static void run(const Run& r) {
    const Lines& p = *static_cast<const Lines*>(r.params);
    const int64_t step = p.reverse ? -p.inner : p.inner;
    for (int64_t u = r.begin; u < r.end; ++u) {
      int64_t at = u / p.inner * p.n * p.inner + u % p.inner + (p.reverse ? (p.n - 1) * p.inner : 0);
      Total total = 0;
      for (int64_t k = 0; k < p.n; ++k, at += step) {
        const Total before = total;
        total += static_cast<Total>(r.in[0].as<const T>()[at]);
        r.out[0].as<T>()[at] = static_cast<T>(p.exclusive ? before : total);
      }
    }
  }
};
}  // namespace
#define EDGERUN_CUM_SUM(SUFFIX, T, TOTAL)                                                                         \
  extern const Kernel cum_sum_##SUFFIX##_kernel{"cum_sum_" #SUFFIX, Kernels<T, TOTAL, DType::SUFFIX>::query,      \
                                                Kernels<T, TOTAL, DType::SUFFIX>::prepare,                        \
                                                Kernels<T, TOTAL, DType::SUFFIX>::run};
EDGERUN_CUM_SUM(f32, float, double)
EDGERUN_CUM_SUM(f64, double, double)
EDGERUN_CUM_SUM(i32, int32_t, uint32_t)
EDGERUN_CUM_SUM(i64, int64_t, uint64_t)
EDGERUN_ISA_END
