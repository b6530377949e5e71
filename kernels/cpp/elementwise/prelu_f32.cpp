// prelu_f32: y = x < 0 ? slope·x : x, slope broadcast to x's shape. NaN stays NaN; in place allowed when shapes are
// equal.
#include "binary.h"

EDGERUN_ISA_BEGIN
namespace {
struct Op {
  static float f(float x, float slope) { return x < 0.f ? x * slope : x; }
};
Status query(const Request& r, Need* need) {
  EDGERUN_TRY((Binary<Op, float, float>::query(r, need)));
  return same_dims(r.in[0], r.out[0]) ? Status::ok : Status::bad_shape;
}
}  // namespace
extern const Kernel prelu_f32_kernel{"prelu_f32", query, Binary<Op, float, float>::prepare,
                                     Binary<Op, float, float>::run};
EDGERUN_ISA_END
