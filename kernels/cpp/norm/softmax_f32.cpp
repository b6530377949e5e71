// softmax_f32: y = e^(x − max) / Σ e^(x − max) along `axis`; see softmax.h. In place allowed.
#include "softmax.h"

EDGERUN_ISA_BEGIN
extern const Kernel softmax_f32_kernel{"softmax_f32", SoftmaxKernel<false>::query, SoftmaxKernel<false>::prepare,
                                       SoftmaxKernel<false>::run};
EDGERUN_ISA_END
