// scatter_nd: y = x, then y[indices[i …], j …] = or op= updates[i …, j …], the last dimension of `indices` holding tuples;
// reduction 0 none 1 add 2 mul 3 min 4 max (f32 i32 i64). Negative indices count from the end; a tuple with one out of range
// never writes, and is reported. Indices are i64 or i32.
#include "scatter.h"
#include "tuples.h"

EDGERUN_ISA_BEGIN
namespace {
struct Plan {
  Tuples tuples;
  int32_t reduction;
};

struct Writer {
  static Status resolve(const Request& r, DType dtype, size_t bytes, Plan* p) {
    EDGERUN_TRY(scatter_operands(r, dtype, bytes, &p->reduction));
    return plan_tuples(r.in[0], r.in[1], r.in[2], 0, &p->tuples);
  }

  template <class T, class Op> static void apply(const Run& r) {
    const Tuples& p = static_cast<const Plan*>(r.params)->tuples;
    const T* from = r.in[2].as<const T>();
    for (int64_t u = 0; u < p.count; ++u, from += p.inner) {
      const int64_t at = p.offset(r, r.in[1].data, u);
      if (at < 0) continue;
      T* y = r.out[0].as<T>() + at;
      for (int64_t k = 0; k < p.inner; ++k) y[k] = Op::f(y[k], from[k]);
    }
  }
};
}  // namespace
EDGERUN_SCATTERS(scatter_nd)
EDGERUN_ISA_END
