// Addressing of gather_nd and scatter_nd: the last dimension of the index tensor holds tuples, each of which names a slice of
// the data; the first `batch_dims` dimensions of both tensors are walked together.
#pragma once
#include "indices.h"

namespace edgerun::EDGERUN_ISA {

struct Tuples {
  int64_t extent[kMaxRank], stride[kMaxRank];  // of the dimensions that a tuple names
  int64_t count, inner;                        // tuples; elements of a slice
  int64_t each, batch_stride;                  // tuples of one batch; elements of data from one batch to the next
  int32_t length;                              // of a tuple
  Indices index;

  // Offset in data of the slice that tuple `at` names, or -1 (reported).
  int64_t offset(const Run& r, const void* data, int64_t at) const {
    int64_t offset = at / each * batch_stride;
    for (int32_t k = 0; k < length; ++k) {
      const int64_t position = at * length + k, i = checked_index(r, index.at(data, position), extent[k], position);
      if (i < 0) return -1;
      offset += i * stride[k];
    }
    return offset;
  }
};

// slices: [outer dimensions of the index tensor, what is left of data], the shape of y or of the updates.
inline Status plan_tuples(const TensorView& data, const TensorView& index, const TensorView& slices, int64_t batch_dims, Tuples* p) {
  EDGERUN_TRY(sound_indices(index));
  if (index.rank < 1 || data.rank < 1) return Status::bad_rank;
  const int64_t length = index.last();
  if (batch_dims < 0 || batch_dims >= index.rank || batch_dims > data.rank) return Status::bad_attribute;
  if (length > data.rank - batch_dims) return Status::bad_shape;
  const auto batch = static_cast<int32_t>(batch_dims);
  const int32_t outer = index.rank - 1, named = batch + static_cast<int32_t>(length);
  if (slices.rank != outer + data.rank - named) return Status::bad_rank;
  for (int32_t k = 0; k < slices.rank; ++k)
    if (slices.dims[k] != (k < outer ? index.dims[k] : data.dims[named + k - outer])) return Status::bad_shape;
  for (int32_t k = 0; k < batch; ++k)
    if (data.dims[k] != index.dims[k]) return Status::bad_shape;
  p->length = static_cast<int32_t>(length);
  for (int32_t k = 0; k < p->length; ++k) p->extent[k] = data.dims[batch + k], p->stride[k] = data.span(batch + k + 1, data.rank);
  p->count = index.span(0, outer), p->inner = data.span(named, data.rank);
  p->each = most(1, index.span(batch, outer)), p->batch_stride = data.span(batch, data.rank);
  p->index.wide = index.dtype == DType::i64;
  for (int64_t k = 0; index.data && k < p->count * length; ++k)
    if (!in_range(p->index.at(index.data, k), p->extent[k % length])) return Status::bad_index;
  return Status::ok;
}

}  // namespace edgerun::EDGERUN_ISA
