// MAED's identities as they were published (Ahmadi et al., arXiv 2603.18120; the authors' C program), for comparison with those of
// activation.h: e^x and e^-x as sums of the same 30 Maclaurin terms in double, an absolute tolerance of 10^-6, operands beyond
// +-10 taken as +-10. They raise false alarms where e^|x| amplifies the rounding of y (docs/checks.md); attribute `paper` = 1.
#pragma once
#include "activation.h"

namespace edgerun::EDGERUN_ISA {

inline constexpr int64_t kPaperBlock = 4096;  // elements kept of an operand that the result may overwrite
inline constexpr double kPaperWork = 200;     // operations an element

enum class Published : int32_t {
  none,
  relu,     // relu(y) = y
  sigmoid,  // y / (1 - y) = e^x
  tanh,     // (a - 1) / (a + 1) = (e^-2x - 1) / (e^-2x + 1) with a = (1 - y) / (1 + y)
  exp,      // y = 1 / e^-x
};

constexpr Published published(int32_t activation) {
  return activation == kRelu ? Published::relu : activation == kSigmoid ? Published::sigmoid
                                             : activation == kTanh      ? Published::tanh
                                                                        : Published::none;
}

// Verifies y = f(x) elementwise; index: flat output index of y[0].
void check_published(Published f, const float* x, const float* y, int64_t index, int64_t n, CheckSink* sink);

// Runs `compute`, which writes y[0, n) and checks nothing, n <= kPaperBlock; then an armed fault and the check.
template <class F> inline void published_block(Published f, const float* x, float* y, int64_t index, int64_t n, CheckSink* sink,
                                               const F& compute) {
  float kept[kPaperBlock];
  __builtin_memcpy(kept, x, static_cast<size_t>(n) * sizeof(float));
  compute();
  if (fault_in(sink, index, index + n)) inject(sink, index, y);
  check_published(f, kept, y, index, n, sink);
}

}  // namespace edgerun::EDGERUN_ISA
