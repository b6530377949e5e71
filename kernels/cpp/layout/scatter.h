// What scatter_elements and scatter_nd share: y is x with updates written or combined into it, one after the other in the order
// of the updates (the last one wins, sums are taken in that order), so a call is one unit of work.
#pragma once
#include <cstring>

#include "indices.h"

namespace edgerun::EDGERUN_ISA {

enum Reduction : int32_t { kSet = 0, kAdd, kMul, kMin, kMax, kReductionCount };

struct SetOp {
  template <class T> EDGERUN_INLINE static T f(T, T b) { return b; }
};
struct AddOp {  // integers wrap
  EDGERUN_INLINE static float f(float a, float b) { return a + b; }
  EDGERUN_INLINE static int32_t f(int32_t a, int32_t b) { return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b)); }
  EDGERUN_INLINE static int64_t f(int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b)); }
};
struct MulOp {
  EDGERUN_INLINE static float f(float a, float b) { return a * b; }
  EDGERUN_INLINE static int32_t f(int32_t a, int32_t b) { return static_cast<int32_t>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b)); }
  EDGERUN_INLINE static int64_t f(int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b)); }
};
struct MinOp {  // NaN wins
  template <class T> EDGERUN_INLINE static T f(T a, T b) { return a != a || a < b ? a : b; }
};
struct MaxOp {
  template <class T> EDGERUN_INLINE static T f(T a, T b) { return a != a || a > b ? a : b; }
};

// x and updates of T, y like x; resolve what `reduction` says. reduces: whether T has arithmetic.
inline Status scatter_operands(const Request& r, DType dtype, size_t bytes, int32_t* reduction) {
  EDGERUN_TRY(arity(r, 3, 3, 1));
  EDGERUN_TRY(dtype == DType::none ? sound_size(r.in[0], bytes) : sound(r.in[0], dtype));
  EDGERUN_TRY(sound(r.in[2], r.in[0].dtype));
  EDGERUN_TRY(sound(r.out[0], r.in[0].dtype));
  if (!same_dims(r.in[0], r.out[0])) return Status::bad_shape;
  const int64_t code = r.attrs.i("reduction");
  if (code < kSet || code >= kReductionCount || (code != kSet && dtype == DType::none)) return Status::bad_attribute;
  *reduction = static_cast<int32_t>(code);
  return Status::ok;
}

inline void need_scatter(const Request& r, Need* need) {
  need->indexed = !r.in[1].data;
  need->units = r.out[0].elements() ? 1 : 0;
  need->work = 2.0 * static_cast<double>(r.in[2].elements());
  need->bytes = static_cast<double>(size_of(r.in[0].dtype)) * 2 * static_cast<double>(r.in[0].elements() + r.in[2].elements());
}

// Calls Writer::apply<T, Op>(r) with the operation of a reduction; kArithmetic: T is a number.
template <class Writer, class T, bool kArithmetic> inline void scatter(const Run& r, int32_t reduction) {
  memmove(r.out[0].data, r.in[0].data, static_cast<size_t>(r.in[0].elements()) * sizeof(T));
  if constexpr (kArithmetic) {
    switch (reduction) {
      case kAdd: return Writer::template apply<T, AddOp>(r);
      case kMul: return Writer::template apply<T, MulOp>(r);
      case kMin: return Writer::template apply<T, MinOp>(r);
      case kMax: return Writer::template apply<T, MaxOp>(r);
      default: break;
    }
  }
  Writer::template apply<T, SetOp>(r);
}

// The kernels of one operator: Plan has `reduction`; Writer has resolve(r, dtype, bytes, Plan*) and apply.
template <class Writer, class Plan, class T, DType kDType> struct ScatterKernel {
  static Status query(const Request& r, Need* need) {
    Plan p;
    EDGERUN_TRY(Writer::resolve(r, kDType, sizeof(T), &p));
    need_scatter(r, need);
    need->params = sizeof p;
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    return Writer::resolve(r, kDType, sizeof(T), static_cast<Plan*>(params));
  }
  static void run(const Run& r) {
    if (r.begin < r.end) scatter<Writer, T, kDType != DType::none>(r, static_cast<const Plan*>(r.params)->reduction);
  }
};

#define EDGERUN_SCATTER(OP, SUFFIX, T, CODE)                                                             \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, ScatterKernel<Writer, Plan, T, DType::CODE>::query, \
                                             ScatterKernel<Writer, Plan, T, DType::CODE>::prepare,                \
                                             ScatterKernel<Writer, Plan, T, DType::CODE>::run};
#define EDGERUN_SCATTERS(OP)                                                                    \
  EDGERUN_SCATTER(OP, x8, uint8_t, none)                                                        \
  EDGERUN_SCATTER(OP, x16, uint16_t, none)                                                      \
  EDGERUN_SCATTER(OP, x32, uint32_t, none)                                                      \
  EDGERUN_SCATTER(OP, x64, uint64_t, none)                                                      \
  EDGERUN_SCATTER(OP, f32, float, f32)                                                          \
  EDGERUN_SCATTER(OP, i32, int32_t, i32)                                                        \
  EDGERUN_SCATTER(OP, i64, int64_t, i64)

}  // namespace edgerun::EDGERUN_ISA
