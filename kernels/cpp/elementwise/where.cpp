// where: y = cond ? a : b, broadcast; cond is b8 (any non-zero byte is true), a and b of any dtype by element size.
#include "nest.h"
#include "types.h"

EDGERUN_ISA_BEGIN
namespace {
template <class T> struct Where {
  static Status operands(const Request& r) {
    EDGERUN_TRY(arity(r, 3, 3, 1));
    EDGERUN_TRY(sound(r.in[0], DType::b8));
    EDGERUN_TRY(sound_size(r.in[1], sizeof(T)));
    EDGERUN_TRY(sound(r.in[2], r.in[1].dtype));
    EDGERUN_TRY(sound(r.out[0], r.in[1].dtype));
    return broadcast_shape(r);
  }
  static Status query(const Request& r, Need* need) {
    EDGERUN_TRY(operands(r));
    Nest p;
    plan_nest(r, &p);
    need_nest(r, p, need);
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    EDGERUN_TRY(operands(r));
    plan_nest(r, static_cast<Nest*>(params));
    return Status::ok;
  }
  static void row(const Run& r, const char* const* x, const bool* scalar, int64_t index, int64_t n) {
    const uint8_t* c = reinterpret_cast<const uint8_t*>(x[0]);
    const T *a = reinterpret_cast<const T*>(x[1]), *b = reinterpret_cast<const T*>(x[2]);
    T* y = r.out[0].as<T>() + index;
    if (!scalar[0] && !scalar[1] && !scalar[2]) {
      EDGERUN_IVDEP
      for (int64_t k = 0; k < n; ++k) {
        const T p = a[k], q = b[k];
        y[k] = c[k] ? p : q;
      }
      return;
    }
    const int64_t sc = scalar[0] ? 0 : 1, sa = scalar[1] ? 0 : 1, sb = scalar[2] ? 0 : 1;
    EDGERUN_IVDEP
    for (int64_t k = 0; k < n; ++k) y[k] = c[k * sc] ? a[k * sa] : b[k * sb];
  }
  static void run(const Run& r) { walk(*static_cast<const Nest*>(r.params), r, row); }
};
}  // namespace
#define EDGERUN_WHERE(SUFFIX, T) \
  extern const Kernel where_##SUFFIX##_kernel{"where_" #SUFFIX, Where<T>::query, Where<T>::prepare, Where<T>::run};
EDGERUN_WHERE(x8, uint8_t)
EDGERUN_WHERE(x16, uint16_t)
EDGERUN_WHERE(x32, uint32_t)
EDGERUN_WHERE(x64, uint64_t)
EDGERUN_ISA_END
