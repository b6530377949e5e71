// log_softmax_f32: y = x − max − ln Σ e^(x − max) along `axis`; see softmax.h. In place allowed.
#include "softmax.h"

EDGERUN_ISA_BEGIN
extern const Kernel log_softmax_f32_kernel{"log_softmax_f32", SoftmaxKernel<true>::query, SoftmaxKernel<true>::prepare,
                                           SoftmaxKernel<true>::run};
EDGERUN_ISA_END
