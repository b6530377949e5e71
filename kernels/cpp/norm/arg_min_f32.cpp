// arg_min_f32: position of the smallest value along `axis`; ties and NaN as in arg_reduce.h. x f32 → y i64, kept or
// squeezed shape.
#include "arg_reduce.h"

EDGERUN_ISA_BEGIN
namespace {
struct Better {
  EDGERUN_INLINE static bool than(float a, float b) { return a < b; }
};
}  // namespace
extern const Kernel arg_min_f32_kernel{"arg_min_f32", ArgKernel<Better>::query, ArgKernel<Better>::prepare,
                                       ArgKernel<Better>::run};
EDGERUN_ISA_END
