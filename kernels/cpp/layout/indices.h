// Index operands (i64 or i32) of the gather and scatter kernels, and what happens to an index out of range.
#pragma once
#include "operand.h"

namespace edgerun::EDGERUN_ISA {

inline Status sound_indices(const TensorView& v) {
  EDGERUN_TRY(sound(v));
  return v.dtype == DType::i64 || v.dtype == DType::i32 ? Status::ok : Status::bad_dtype;
}

struct Indices {
  bool wide;  // i64

  EDGERUN_INLINE int64_t at(const void* data, int64_t k) const {
    return wide ? static_cast<const int64_t*>(data)[k] : static_cast<const int32_t*>(data)[k];
  }
};

inline bool in_range(int64_t index, int64_t extent) { return index >= -extent && index < extent; }

// The index counted from the start, or -1 after reporting it: the caller must not follow it.
EDGERUN_INLINE int64_t checked_index(const Run& r, int64_t index, int64_t extent, int64_t position) {
  if (__builtin_expect(in_range(index, extent), 1)) return index < 0 ? index + extent : index;
  if (r.bad_index) r.bad_index->report(position, index, extent);
  return -1;
}

}  // namespace edgerun::EDGERUN_ISA
