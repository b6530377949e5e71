// scatter_elements: y = x, then y[c0 …, indices[c], … cn] = or op= updates[c], the index on `axis`; reduction 0 none 1 add 2 mul
// 3 min 4 max (f32 i32 i64). Negative indices count from the end; one out of range never writes and is reported. i64 or i32.
#include "along.h"
#include "scatter.h"

EDGERUN_ISA_BEGIN
namespace {
struct Plan {
  Along along;
  int32_t reduction;
};

struct Writer {
  static Status resolve(const Request& r, DType dtype, size_t bytes, Plan* p) {
    EDGERUN_TRY(scatter_operands(r, dtype, bytes, &p->reduction));
    if (!same_dims(r.in[1], r.in[2])) return Status::bad_shape;
    return plan_along(r, r.in[0], r.in[1], &p->along);
  }

  template <class T, class Op> static void apply(const Run& r) {
    const Along& p = static_cast<const Plan*>(r.params)->along;
    const T* from = r.in[2].as<const T>();
    for (int64_t u = 0; u < p.rows; ++u) {
      T* y = r.out[0].as<T>() + p.base(u);
      for (int64_t k = 0; k < p.row; ++k) {
        const int64_t position = u * p.row + k, at = checked_index(r, p.index.at(r.in[1].data, position), p.extent, position);
        if (at < 0) continue;
        T& to = y[at * p.axis_stride + k * p.step];
        to = Op::f(to, from[position]);
      }
    }
  }
};
}  // namespace
EDGERUN_SCATTERS(scatter_elements)
EDGERUN_ISA_END
