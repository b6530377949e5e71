// The activation that arithmetic and normalisation kernels apply to a block they have just written.
#include "activation_rows.h"

EDGERUN_ISA_BEGIN
void apply_activation(const ActParams& p, const float* x, float* y, int64_t index, int64_t n, CheckSink* sink) {
  const ActVectors act(p);
  with_activation(p.code, [&](auto code) { activation_block<decltype(code)::value>(x, y, index, n, act, sink); });
}
EDGERUN_ISA_END
