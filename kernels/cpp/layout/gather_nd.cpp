// gather_nd: y[i …, j …] = x[batch …, indices[i …], j …]; the last dimension of `indices` (i64 or i32) holds tuples, the first
// `batch_dims` dimensions of x and indices go together. Negative indices count from the end. An index out of range never
// reads: it is reported and gives a slice of 0. Data of any dtype by element size.
#include "runs.h"
#include "tuples.h"

EDGERUN_ISA_BEGIN
namespace {
Status resolve(const Request& r, size_t bytes, Tuples* p) {
  EDGERUN_TRY(arity(r, 2, 2, 1));
  EDGERUN_TRY(sound_size(r.in[0], bytes));
  EDGERUN_TRY(sound(r.out[0], r.in[0].dtype));
  return plan_tuples(r.in[0], r.in[1], r.out[0], r.attrs.i("batch_dims"), p);
}

template <class T> struct Kernels {
  static Status query(const Request& r, Need* need) {
    Tuples p;
    EDGERUN_TRY(resolve(r, sizeof(T), &p));
    need->params = sizeof p;
    need->indexed = !r.in[1].data;
    need->units = p.inner ? p.count : 0;
    need->work = static_cast<double>(r.out[0].elements() + r.in[1].elements());
    need->bytes = 2.0 * sizeof(T) * static_cast<double>(r.out[0].elements());
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) { return resolve(r, sizeof(T), static_cast<Tuples*>(params)); }
  static void run(const Run& r) {
    const Tuples& p = *static_cast<const Tuples*>(r.params);
    const size_t bytes = static_cast<size_t>(p.inner) * sizeof(T);
    for (int64_t u = r.begin; u < r.end; ++u) {
      const int64_t at = p.offset(r, r.in[1].data, u);
      char* to = reinterpret_cast<char*>(r.out[0].as<T>() + u * p.inner);
      if (at < 0)
        memset(to, 0, bytes);
      else
        copy_run(to, reinterpret_cast<const char*>(r.in[0].as<const T>() + at), bytes);
    }
  }
};
}  // namespace
#define EDGERUN_GATHER_ND(SUFFIX, T)                                                                                     \
  extern const Kernel gather_nd_##SUFFIX##_kernel{"gather_nd_" #SUFFIX, Kernels<T>::query, Kernels<T>::prepare, Kernels<T>::run};
EDGERUN_GATHER_ND(x8, uint8_t)
EDGERUN_GATHER_ND(x16, uint16_t)
EDGERUN_GATHER_ND(x32, uint32_t)
EDGERUN_GATHER_ND(x64, uint64_t)
EDGERUN_ISA_END
