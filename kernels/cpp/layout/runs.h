// concat and split: along one axis a tensor is cut into parts, so both are copies of contiguous runs, one per part and
// position before the axis.
#pragma once
#include <cstring>

#include "operand.h"

namespace edgerun::EDGERUN_ISA {

struct Runs {
  int64_t outer, whole;  // positions before the axis; elements of the whole tensor from the axis on
  int64_t count;
  // int64_t part[count] follows: elements of each part from the axis on
  int64_t* part() { return reinterpret_cast<int64_t*>(this + 1); }
  const int64_t* part() const { return reinterpret_cast<const int64_t*>(this + 1); }
};

// memmove: slots of a damaged plan may overlap, which must stay defined.
inline void copy_run(char* y, const char* x, size_t bytes) {
  if (bytes > 256 || bytes % 16) {
    memmove(y, x, bytes);
    return;
  }
  for (; bytes; bytes -= 16, x += 16, y += 16) memmove(y, x, 16);
}

// whole: the tensor that has all parts; parts: `count` tensors that agree with it but for the axis.
inline Status plan_runs(const Request& r, size_t bytes, const TensorView& whole, const TensorView* parts, int32_t count,
                        Runs* p) {
  int32_t axis;
  if (count < 1) return Status::bad_arity;
  EDGERUN_TRY(sound_size(whole, bytes));
  EDGERUN_TRY(axis_of(r, whole.rank, &axis));
  int64_t sum = 0;
  for (int32_t k = 0; k < count; ++k) {
    EDGERUN_TRY(sound(parts[k], whole.dtype));
    if (parts[k].rank != whole.rank) return Status::bad_rank;
    for (int32_t d = 0; d < whole.rank; ++d)
      if (d != axis && parts[k].dims[d] != whole.dims[d]) return Status::bad_shape;
    sum += parts[k].dims[axis];
    if (sum > whole.dims[axis]) return Status::bad_shape;
    if (p) p->part()[k] = parts[k].span(axis, whole.rank);
  }
  if (sum != whole.dims[axis]) return Status::bad_shape;
  if (p) {
    p->outer = whole.span(0, axis);
    p->whole = whole.span(axis, whole.rank);
    p->count = count;
  }
  return Status::ok;
}

inline void need_runs(const Request& r, const TensorView& whole, int32_t count, Need* need) {
  const int64_t a = r.attrs.i("axis");
  need->params = sizeof(Runs) + static_cast<size_t>(count) * sizeof(int64_t);
  need->units = whole.span(0, static_cast<int32_t>(a < 0 ? a + whole.rank : a));
  need->work = static_cast<double>(whole.elements());
  need->bytes = 2.0 * static_cast<double>(whole.elements()) * static_cast<double>(size_of(whole.dtype));
}

}  // namespace edgerun::EDGERUN_ISA
