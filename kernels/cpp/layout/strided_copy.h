// y[i0, i1, …] = x[base + i0·s0 + i1·s1 + …]: transpose, slice and expand are this one loop nest with other strides.
// Dimensions that lie one after the other in both tensors are merged; a nest in which some outer dimension is the
// contiguous one of x is walked in tiles, so that both sides use whole cache lines.
#pragma once
#include <cstring>

#include "runs.h"

namespace edgerun::EDGERUN_ISA {

struct StridedCopy {
  int64_t dims[kMaxRank], stride[kMaxRank];  // stride in elements of x, may be 0 or negative
  int64_t base;
  int64_t block, blocks;            // last dimension is cut in `blocks` pieces of `block`
  int64_t tile_block, tile_blocks;  // likewise dimension `tile`
  int64_t tile_out;                 // stride of dimension `tile` in y
  int64_t rows;                     // > 0: a unit has up to this many short rows, neighbours in dimension rank − 2
  int64_t row_blocks;
  int64_t units;
  int32_t rank, tile;  // tile < 0: no tiling
};

// dims and stride as wanted by the operator; on return merged, with the split into units decided.
inline void plan_strided(StridedCopy* p, const int64_t* dims, const int64_t* stride, int32_t rank, int64_t base) {
  p->base = base;
  p->rank = 0;
  bool empty = false;
  for (int32_t k = 0; k < rank; ++k) {
    empty |= dims[k] == 0;
    if (dims[k] == 1) continue;
    const int32_t last = p->rank - 1;
    if (last >= 0 && p->stride[last] == stride[k] * dims[k]) {
      p->dims[last] *= dims[k];
      p->stride[last] = stride[k];
    } else {
      p->dims[p->rank] = dims[k];
      p->stride[p->rank++] = stride[k];
    }
  }
  if (p->rank == 0) p->dims[0] = 1, p->stride[0] = 1, p->rank = 1;
  const int32_t in = p->rank - 1;
  const int64_t n = p->dims[in];
  p->tile = -1;
  p->block = least(n, 8192), p->tile_block = 1, p->tile_blocks = 1, p->tile_out = 0, p->rows = 0, p->row_blocks = 1;
  if (p->stride[in] != 1 && p->stride[in] != 0)
    for (int32_t k = 0; k < in; ++k)
      if (p->stride[k] == 1) p->tile = k;
  if (p->tile >= 0) {
    p->tile_out = 1;
    for (int32_t k = p->tile + 1; k <= in; ++k) p->tile_out *= p->dims[k];
    const int64_t m = p->dims[p->tile];
    p->tile_block = least(m, n < 32 ? 1024 : 64);
    p->block = least(n, m < 32 ? 1024 : 64);
    p->tile_blocks = p->tile_block ? ceil_div(m, p->tile_block) : 0;
  } else if (in > 0 && n > 0 && n <= 256) {
    p->rows = least(p->dims[in - 1], 8192 / n);
    p->row_blocks = p->rows ? ceil_div(p->dims[in - 1], p->rows) : 0;
  }
  if (empty) {
    p->units = p->blocks = 0;
    return;
  }
  p->blocks = ceil_div(n, p->block);
  p->units = p->blocks * p->tile_blocks * p->row_blocks;
  for (int32_t k = 0; k < in; ++k)
    if (k != p->tile && !(p->rows && k == in - 1)) p->units *= p->dims[k];
}

template <class T> inline void copy_row(const T* x, int64_t s, T* y, int64_t n) {
  if (s == 1) {
    memmove(y, x, static_cast<size_t>(n) * sizeof(T));  // slots of a damaged plan may overlap
  } else if (s == 0) {
    const T v = x[0];
    for (int64_t k = 0; k < n; ++k) y[k] = v;
  } else {
    for (int64_t k = 0; k < n; ++k) y[k] = x[k * s];
  }
}

// `rows` short rows of n elements, `step` apart in x and dense in y.
template <class T, int kFixed>
inline void copy_short(const T* __restrict x, int64_t s, int64_t step, T* __restrict y, int64_t n, int64_t rows) {
  const int64_t width = kFixed ? kFixed : n;
  for (int64_t i = 0; i < rows; ++i, x += step, y += width)
    for (int64_t k = 0; k < width; ++k) y[k] = x[k * s];
}

template <class T> inline void copy_rows(const T* x, int64_t s, int64_t step, T* y, int64_t n, int64_t rows) {
  switch (n) {
    case 2: return copy_short<T, 2>(x, s, step, y, n, rows);
    case 3: return copy_short<T, 3>(x, s, step, y, n, rows);
    case 4: return copy_short<T, 4>(x, s, step, y, n, rows);
    default: break;
  }
  if (s != 1) return copy_short<T, 0>(x, s, step, y, n, rows);
  for (int64_t i = 0; i < rows; ++i, x += step, y += n)
    copy_run(reinterpret_cast<char*>(y), reinterpret_cast<const char*>(x), static_cast<size_t>(n) * sizeof(T));
}

// y[i·n_out + j] = x[i + j·s] for a fixed, small number of columns: interleaves planes (NCHW → NHWC of an image).
template <class T, int kColumns>
inline void interleave(const T* __restrict x, int64_t s, T* __restrict y, int64_t y_stride, int64_t m) {
  if (y_stride == kColumns) {
    for (int64_t i = 0; i < m; ++i)
      for (int c = 0; c < kColumns; ++c) y[i * kColumns + c] = x[i + c * s];
  } else {
    for (int64_t i = 0; i < m; ++i)
      for (int c = 0; c < kColumns; ++c) y[i * y_stride + c] = x[i + c * s];
  }
}

// y[i·y_stride + j] = x[i + j·s] for a fixed, small number of rows: takes planes apart (NHWC → NCHW of an image).
template <class T, int kRows>
inline void deinterleave(const T* __restrict x, int64_t s, T* __restrict y, int64_t y_stride, int64_t n) {
  if (s == kRows) {
    for (int64_t j = 0; j < n; ++j)
      for (int i = 0; i < kRows; ++i) y[i * y_stride + j] = x[i + j * kRows];
  } else {
    for (int64_t j = 0; j < n; ++j)
      for (int i = 0; i < kRows; ++i) y[i * y_stride + j] = x[i + j * s];
  }
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define EDGERUN_SHUFFLE 1
#endif
#endif

#ifdef EDGERUN_SHUFFLE
typedef uint32_t Quad __attribute__((vector_size(16)));
inline void transpose_quad(const uint32_t* x, int64_t s, uint32_t* y, int64_t t) {
  Quad r0, r1, r2, r3;
  memcpy(&r0, x, 16), memcpy(&r1, x + s, 16), memcpy(&r2, x + 2 * s, 16), memcpy(&r3, x + 3 * s, 16);
  const Quad a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), b = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
  const Quad c = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  r0 = __builtin_shufflevector(a, b, 0, 1, 4, 5), r1 = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  r2 = __builtin_shufflevector(c, d, 0, 1, 4, 5), r3 = __builtin_shufflevector(c, d, 2, 3, 6, 7);
  memcpy(y, &r0, 16), memcpy(y + t, &r1, 16), memcpy(y + 2 * t, &r2, 16), memcpy(y + 3 * t, &r3, 16);
}
#endif

// y[i·y_stride + j] = x[i + j·s], i < m, j < n.
template <class T> inline void transpose_tile(const T* x, int64_t s, T* y, int64_t y_stride, int64_t m, int64_t n) {
  switch (n) {
    case 2: return interleave<T, 2>(x, s, y, y_stride, m);
    case 3: return interleave<T, 3>(x, s, y, y_stride, m);
    case 4: return interleave<T, 4>(x, s, y, y_stride, m);
    default: break;
  }
  switch (m) {
    case 2: return deinterleave<T, 2>(x, s, y, y_stride, n);
    case 3: return deinterleave<T, 3>(x, s, y, y_stride, n);
    case 4: return deinterleave<T, 4>(x, s, y, y_stride, n);
    default: break;
  }
  int64_t i = 0;
#ifdef EDGERUN_SHUFFLE
  if constexpr (sizeof(T) == 4) {
    for (; i + 8 <= m; i += 8) {  // 8 × 8: half a cache line on either side before it is left, or long strides evict it
      int64_t j = 0;
      for (; j + 8 <= n; j += 8)
        for (int k = 0; k < 8; k += 4) {
          transpose_quad(x + i + (j + k) * s, s, y + i * y_stride + j + k, y_stride);
          transpose_quad(x + i + 4 + (j + k) * s, s, y + (i + 4) * y_stride + j + k, y_stride);
        }
      for (; j < n; ++j)
        for (int k = 0; k < 8; ++k) y[(i + k) * y_stride + j] = x[i + k + j * s];
    }
  }
#endif
  constexpr int64_t kSide = 8;
  for (; i < m; i += kSide) {
    const int64_t rows = least(kSide, m - i);
    for (int64_t j = 0; j < n; ++j)
      for (int64_t k = 0; k < rows; ++k) y[(i + k) * y_stride + j] = x[i + k + j * s];
  }
}

template <class T> inline void run_strided(const StridedCopy& p, const T* x, T* y, int64_t begin, int64_t end) {
  const int32_t in = p.rank - 1;
  for (int64_t u = begin; u < end; ++u) {
    int64_t rest = u;
    const int64_t j = rest % p.blocks * p.block;
    rest /= p.blocks;
    int64_t i = 0, from = p.base + j * p.stride[in], to = j, out = p.dims[in];
    if (p.tile >= 0) {
      i = rest % p.tile_blocks * p.tile_block;
      rest /= p.tile_blocks;
    } else if (p.rows) {
      i = rest % p.row_blocks * p.rows;
      rest /= p.row_blocks;
    }
    for (int32_t k = in - 1; k >= 0; --k) {
      if (k == p.tile) {
        from += i, to += i * p.tile_out;
      } else if (p.rows && k == in - 1) {
        from += i * p.stride[k], to += i * out;
      } else {
        const int64_t at = rest % p.dims[k];
        rest /= p.dims[k];
        from += at * p.stride[k], to += at * out;
      }
      out *= p.dims[k];
    }
    const int64_t n = least(p.block, p.dims[in] - j);
    if (p.tile >= 0)
      transpose_tile(x + from, p.stride[in], y + to, p.tile_out, least(p.tile_block, p.dims[p.tile] - i), n);
    else if (p.rows)
      copy_rows(x + from, p.stride[in], p.stride[in - 1], y + to, n, least(p.rows, p.dims[in - 1] - i));
    else
      copy_row(x + from, p.stride[in], y + to, n);
  }
}

inline void need_strided(const StridedCopy& p, const TensorView& out, Need* need) {
  need->params = sizeof(StridedCopy);
  need->units = p.units;
  need->bytes = 2.0 * static_cast<double>(out.elements()) * static_cast<double>(size_of(out.dtype));
  need->work = static_cast<double>(out.elements());
}

// The whole kernel, given resolve(request, plan): checks operands and attributes and fills the nest.
template <Status (*resolve)(const Request&, size_t, StridedCopy*), class T> struct StridedKernel {
  static Status query(const Request& r, Need* need) {
    StridedCopy p;
    EDGERUN_TRY(resolve(r, sizeof(T), &p));
    need_strided(p, r.out[0], need);
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    return resolve(r, sizeof(T), static_cast<StridedCopy*>(params));
  }
  static void run(const Run& r) {
    run_strided(*static_cast<const StridedCopy*>(r.params), r.in[0].as<const T>(), r.out[0].as<T>(), r.begin, r.end);
  }
};

inline Status one_in_one_out(const Request& r, size_t bytes) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  EDGERUN_TRY(sound_size(r.in[0], bytes));
  EDGERUN_TRY(sound_size(r.out[0], bytes));
  return r.in[0].dtype == r.out[0].dtype ? Status::ok : Status::bad_dtype;
}

#define EDGERUN_FOR_SIZES(OP, MAKE) \
  MAKE(OP, x8, uint8_t) MAKE(OP, x16, uint16_t) MAKE(OP, x32, uint32_t) MAKE(OP, x64, uint64_t)
#define EDGERUN_STRIDED_KERNEL(OP, SUFFIX, T)                                                   \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, StridedKernel<resolve, T>::query, \
                                             StridedKernel<resolve, T>::prepare, StridedKernel<resolve, T>::run};

}  // namespace edgerun::EDGERUN_ISA
