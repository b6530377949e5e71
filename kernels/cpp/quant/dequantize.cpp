// dequantize_{i8,u8,i16,u16,i32}: y = (float)(x - zero) * scale. The difference is exact, then rounded to float32 (only i32 is
// ever rounded), then multiplied.
#include "elementwise/unary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Params {
  float scale;
  int32_t zero;
};

template <class T> struct Dequantize {
  static Status resolve(const Request& r, Params* p) {
    EDGERUN_TRY(unary_operands(r, TypeOf<T>::code, DType::f32));
    if (!floats(r, "scale", 1, &p->scale) || p->scale - p->scale != 0) return Status::bad_attribute;
    const int64_t zero = r.attrs.i("zero");
    if (zero < TypeOf<T>::low || zero > TypeOf<T>::high) return Status::bad_attribute;
    p->zero = static_cast<int32_t>(zero);
    return Status::ok;
  }
  static Status query(const Request& r, Need* need) {
    Params p;
    EDGERUN_TRY(resolve(r, &p));
    need_unary(r, 2, need);
    need->params = sizeof p;
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Params*>(params)); }
  static void run(const Run& r) {
    const Params p = *static_cast<const Params*>(r.params);
    const T* x = r.in[0].as<const T>();
    float* y = r.out[0].as<float>();
    const int64_t begin = r.begin * kBlock, end = least(r.end * kBlock, r.out[0].elements());
    if (sizeof(T) == 4 && p.zero != 0) {
      for (int64_t k = begin; k < end; ++k) y[k] = static_cast<float>(int64_t{x[k]} - p.zero) * p.scale;
      return;
    }
    const int32_t zero = sizeof(T) == 4 ? 0 : p.zero;
    EDGERUN_IVDEP
    for (int64_t k = begin; k < end; ++k) y[k] = static_cast<float>(x[k] - zero) * p.scale;
  }
};
}  // namespace
#define EDGERUN_DEQUANTIZE(SUFFIX, T)                                                                                     \
  extern const Kernel dequantize_##SUFFIX##_kernel{"dequantize_" #SUFFIX, Dequantize<T>::query, Dequantize<T>::prepare, \
                                                   Dequantize<T>::run};
EDGERUN_DEQUANTIZE(i8, int8_t)
EDGERUN_DEQUANTIZE(u8, uint8_t)
EDGERUN_DEQUANTIZE(i16, int16_t)
EDGERUN_DEQUANTIZE(u16, uint16_t)
EDGERUN_DEQUANTIZE(i32, int32_t)
EDGERUN_ISA_END
