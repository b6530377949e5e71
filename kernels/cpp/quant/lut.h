// Tables of 256 entries: the operands x (bytes) and table[256] of entries of `bytes` bytes, the result of x's shape.
#pragma once
#include "elementwise/unary.h"

EDGERUN_ISA_BEGIN

static inline Status lut_operands(const Request& r, size_t bytes) {
  EDGERUN_TRY(arity(r, 2, 2, 1));
  EDGERUN_TRY(sound_size(r.in[0], 1));
  EDGERUN_TRY(sound_size(r.in[1], bytes));
  EDGERUN_TRY(sound_size(r.out[0], bytes));
  if (r.in[1].rank != 1) return Status::bad_rank;
  return r.in[1].dims[0] == 256 && same_dims(r.in[0], r.out[0]) ? Status::ok : Status::bad_shape;
}

EDGERUN_ISA_END
