// Addressing of gather_elements and scatter_elements: the element of `data` that entry [c0 … cn] of the index tensor means
// is data[c0 …, index, … cn], the index standing in for the coordinate of one axis. Rows run along the last dimension.
#pragma once
#include "indices.h"

namespace edgerun::EDGERUN_ISA {

struct Along {
  int64_t dims[kMaxRank], stride[kMaxRank];  // of the index tensor's outer dimensions; 0 for the axis
  int64_t rows, row;                         // of the index tensor
  int64_t extent, axis_stride, step;         // of the axis in data; between neighbours of a row
  int32_t outer;
  Indices index;

  // Offset in data of the start of a row.
  int64_t base(int64_t at) const {
    int64_t offset = 0;
    for (int32_t k = outer - 1; k >= 0; --k) {
      offset += at % dims[k] * stride[k];
      at /= dims[k];
    }
    return offset;
  }
};

inline Status plan_along(const Request& r, const TensorView& data, const TensorView& index, Along* p) {
  EDGERUN_TRY(sound_indices(index));
  if (index.rank != data.rank || data.rank < 1) return Status::bad_rank;
  int32_t axis;
  EDGERUN_TRY(axis_of(r, data.rank, &axis));
  for (int32_t k = 0; k < data.rank; ++k) {
    if (k != axis && index.dims[k] > data.dims[k]) return Status::bad_shape;
    p->dims[k] = index.dims[k];
    p->stride[k] = k == axis ? 0 : data.span(k + 1, data.rank);
  }
  p->outer = data.rank - 1;
  p->rows = index.span(0, p->outer), p->row = index.last();
  p->extent = data.dims[axis], p->axis_stride = data.span(axis + 1, data.rank);
  p->step = axis == p->outer ? 0 : 1;
  p->index.wide = index.dtype == DType::i64;
  for (int64_t k = 0; index.data && k < p->rows * p->row; ++k)
    if (!in_range(p->index.at(index.data, k), p->extent)) return Status::bad_index;
  return Status::ok;
}

}  // namespace edgerun::EDGERUN_ISA
