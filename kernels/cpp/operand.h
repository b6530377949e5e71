// What every query checks first: operands are present, of the right dtype, and small enough that no index overflows.
// Plans may come from hostile files, so nothing here trusts a dimension.
#pragma once
#include "isa.h"

#define EDGERUN_TRY(expression)                \
  do {                                         \
    const Status status_ = (expression);       \
    if (status_ != Status::ok) return status_; \
  } while (0)

// A loop whose iterations are independent although output and input may be the same buffer (in-place elementwise).
#if defined(__clang__)
#define EDGERUN_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define EDGERUN_IVDEP _Pragma("GCC ivdep")
#endif

namespace edgerun::EDGERUN_ISA {

// The product of all dimensions but the zero ones stays below 2^56 elements, so that every partial product, every byte
// offset and every sum of two of them fits in 63 bits.
inline Status sound(const TensorView& v) {
  if (v.rank < 0) return Status::bad_arity;
  if (v.rank > kMaxRank) return Status::bad_rank;
  if (size_of(v.dtype) == 0) return Status::bad_dtype;
  int64_t n = 1;
  for (int32_t k = 0; k < v.rank; ++k) {
    if (v.dims[k] < 0) return Status::bad_shape;
    if (v.dims[k] > 1 && __builtin_mul_overflow(n, v.dims[k], &n)) return Status::too_large;
    if (n > (int64_t{1} << 56)) return Status::too_large;
  }
  return Status::ok;
}

inline Status sound(const TensorView& v, DType dtype) {
  if (v.rank < 0) return Status::bad_arity;
  return v.dtype == dtype ? sound(v) : Status::bad_dtype;
}

inline Status sound_size(const TensorView& v, size_t element_bytes) {
  if (v.rank < 0) return Status::bad_arity;
  return size_of(v.dtype) == element_bytes ? sound(v) : Status::bad_dtype;
}

inline Status arity(const Request& r, int32_t in_least, int32_t in_most, int32_t outs) {
  return r.n_in >= in_least && r.n_in <= in_most && r.n_out == outs ? Status::ok : Status::bad_arity;
}

inline bool same_dims(const TensorView& a, const TensorView& b) {
  if (a.rank != b.rank) return false;
  for (int32_t k = 0; k < a.rank; ++k)
    if (a.dims[k] != b.dims[k]) return false;
  return true;
}

// Reads exactly `count` integers of an attribute.
inline bool ints(const Request& r, const char* name, int32_t count, int64_t* out) {
  const Attr* a = r.attrs.find(name);
  if (!a || a->count != count || (count > 0 && !a->ints)) return false;
  for (int32_t k = 0; k < count; ++k) out[k] = a->ints[k];
  return true;
}

inline bool floats(const Request& r, const char* name, int32_t count, float* out) {
  const Attr* a = r.attrs.find(name);
  if (!a || a->count != count || (count > 0 && !a->floats)) return false;
  for (int32_t k = 0; k < count; ++k) out[k] = a->floats[k];
  return true;
}

// An axis attribute in [-rank, rank), made non-negative.
inline Status axis_of(const Request& r, int32_t rank, int32_t* axis) {
  int64_t a;
  if (!ints(r, "axis", 1, &a) || a < -rank || a >= rank) return Status::bad_attribute;
  *axis = static_cast<int32_t>(a < 0 ? a + rank : a);
  return Status::ok;
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

}  // namespace edgerun::EDGERUN_ISA
