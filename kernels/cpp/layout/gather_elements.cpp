// gather_elements: y[c0 …, ck, … cn] = x[c0 …, indices[c], … cn], the index on `axis`. Negative indices count from the end.
// An index out of range never reads: it is reported and gives 0. Indices are i64 or i32; data of any dtype by size.
#include "along.h"

EDGERUN_ISA_BEGIN
namespace {
Status resolve(const Request& r, size_t bytes, Along* p) {
  EDGERUN_TRY(arity(r, 2, 2, 1));
  EDGERUN_TRY(sound_size(r.in[0], bytes));
  EDGERUN_TRY(sound(r.out[0], r.in[0].dtype));
  if (!same_dims(r.in[1], r.out[0])) return Status::bad_shape;
  return plan_along(r, r.in[0], r.in[1], p);
}

template <class T> struct Kernels {
  static Status query(const Request& r, Need* need) {
    Along p;
    EDGERUN_TRY(resolve(r, sizeof(T), &p));
    need->params = sizeof p;
    need->indexed = !r.in[1].data;
    need->units = p.row ? p.rows : 0;
    need->work = 2.0 * static_cast<double>(r.out[0].elements());
    need->bytes = (2.0 * sizeof(T) + 8) * static_cast<double>(r.out[0].elements());
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) { return resolve(r, sizeof(T), static_cast<Along*>(params)); }
  static void run(const Run& r) {
    const Along& p = *static_cast<const Along*>(r.params);
    for (int64_t u = r.begin; u < r.end; ++u) {
      const T* x = r.in[0].as<const T>() + p.base(u);
      T* y = r.out[0].as<T>() + u * p.row;
      for (int64_t k = 0; k < p.row; ++k) {
        const int64_t position = u * p.row + k, at = checked_index(r, p.index.at(r.in[1].data, position), p.extent, position);
        y[k] = at < 0 ? T{0} : x[at * p.axis_stride + k * p.step];
      }
    }
  }
};
}  // namespace
#define EDGERUN_GATHER_ELEMENTS(SUFFIX, T)                                                                            \
  extern const Kernel gather_elements_##SUFFIX##_kernel{"gather_elements_" #SUFFIX, Kernels<T>::query, Kernels<T>::prepare, \
                                                        Kernels<T>::run};
EDGERUN_GATHER_ELEMENTS(x8, uint8_t)
EDGERUN_GATHER_ELEMENTS(x16, uint16_t)
EDGERUN_GATHER_ELEMENTS(x32, uint32_t)
EDGERUN_GATHER_ELEMENTS(x64, uint64_t)
EDGERUN_ISA_END
