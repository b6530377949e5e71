// Leading (batch) dimensions of matrix products.
#pragma once
#include "operand.h"

EDGERUN_ISA_BEGIN

// Leading dimensions of an operand against the output's, right-aligned: the step in matrices, 0 where it repeats.
static inline Status steps_of(const TensorView& v, const TensorView& y, int64_t* step) {
  const int32_t leading = y.rank - 2, shift = y.rank - v.rank;
  if (shift < 0) return Status::bad_rank;
  int64_t stride = 1;
  for (int32_t i = leading - 1; i >= 0; --i) {
    const int64_t d = i < shift ? 1 : v.dims[i - shift];
    if (d != 1 && d != y.dims[i]) return Status::bad_shape;
    step[i] = d == 1 ? 0 : stride;
    stride *= d;
  }
  return Status::ok;
}

EDGERUN_ISA_END
