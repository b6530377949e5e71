// Reductions over any set of axes. Dimensions are merged into alternating kept and reduced groups. If the last group is
// reduced, an output element is a loop over contiguous rows; if it is kept, a block of up to kWide output elements is
// reduced at once. Partial results are kept in many lanes and joined into a wider total every kChunk elements, so that
// the rounding error of a sum is bounded by c · kChunk · eps · Σ|x|, however many elements there are. An output element
// never depends on how units are split between threads.
//
// Op: Part (lane type), Total; part0(), total0(); step(Part, x); merge(Part, Part); join(Total, Part); finish(Total,
// count) → output.
#pragma once
#include "operand.h"

namespace edgerun::EDGERUN_ISA {

inline constexpr int kColumns = 32;
inline constexpr int kWide = 64;        // columns of a block where there are as many
inline constexpr int64_t kChunk = 128;  // steps of one lane

struct Reduce {
  int64_t kept[kMaxRank], kept_stride[kMaxRank];
  int64_t reduced[kMaxRank], reduced_stride[kMaxRank];  // the outer reduced groups
  int64_t row;                                          // contiguous reduced elements (rows) or 1
  int64_t columns;                                      // contiguous kept elements, 0: the last group is reduced
  int64_t blocks;                                       // of columns
  int64_t outer;                                        // product of reduced[]
  int64_t count, units;
  int32_t n_kept, n_reduced;
};

inline Status plan_reduce(const TensorView& x, const TensorView& y, const bool* axes, Reduce* p) {
  // the output is x's shape with the reduced dimensions 1, or without them
  int32_t at = 0;
  bool kept_shape = y.rank == x.rank, squeezed = true;
  for (int32_t k = 0; k < x.rank; ++k) {
    if (kept_shape && y.dims[k] != (axes[k] ? 1 : x.dims[k])) kept_shape = false;
    if (!axes[k]) squeezed = squeezed && at < y.rank && y.dims[at] == x.dims[k], ++at;
  }
  if (!kept_shape && !(squeezed && at == y.rank)) return Status::bad_shape;

  int64_t dims[kMaxRank], stride[kMaxRank];
  bool reduce[kMaxRank];
  int32_t n = 0;
  p->count = 1;
  for (int32_t k = 0; k < x.rank; ++k) {
    if (axes[k]) p->count *= x.dims[k];
    if (x.dims[k] == 1) continue;
    if (n > 0 && reduce[n - 1] == axes[k]) {
      dims[n - 1] *= x.dims[k];
      stride[n - 1] = x.span(k + 1, x.rank);
    } else {
      dims[n] = x.dims[k], stride[n] = x.span(k + 1, x.rank), reduce[n++] = axes[k];
    }
  }
  p->n_kept = p->n_reduced = 0;
  p->row = 1, p->columns = 0, p->outer = 1, p->units = 1, p->blocks = 1;
  if (n > 0) {
    if (reduce[n - 1])
      p->row = dims[n - 1];
    else
      p->columns = dims[n - 1], p->blocks = p->units = ceil_div(dims[n - 1], kWide);
    --n;
  }
  for (int32_t k = 0; k < n; ++k) {
    if (reduce[k]) {
      p->reduced[p->n_reduced] = dims[k], p->reduced_stride[p->n_reduced++] = stride[k];
      p->outer *= dims[k];
    } else {
      p->kept[p->n_kept] = dims[k], p->kept_stride[p->n_kept++] = stride[k];
      p->units *= dims[k];
    }
  }
  if (y.elements() == 0) p->units = 0;
  return Status::ok;
}

inline void need_reduce(const Request& r, const Reduce& p, Need* need) {
  need->params = sizeof(Reduce);
  need->units = p.units;
  need->work = static_cast<double>(r.in[0].elements());
  need->bytes =
      static_cast<double>(size_of(r.in[0].dtype)) * static_cast<double>(r.in[0].elements() + r.out[0].elements());
}

// Advances the odometer over the outer reduced groups and returns the offset of the next element.
inline int64_t next_reduced(const Reduce& p, int64_t* at) {
  int64_t moved = 0;
  for (int32_t k = p.n_reduced - 1; k >= 0; --k) {
    moved += p.reduced_stride[k];
    if (++at[k] < p.reduced[k]) break;
    at[k] = 0;
    moved -= p.reduced_stride[k] * p.reduced[k];
  }
  return moved;
}

template <class Op, class T> inline void reduce_contiguous(const T* x, int64_t n, typename Op::Total* total) {
  while (n > 0) {
    typename Op::Part part[kColumns];
    for (int c = 0; c < kColumns; ++c) part[c] = Op::part0();
    const int64_t steps = least(n / kColumns, kChunk);
    for (int64_t k = 0; k < steps; ++k, x += kColumns)
      for (int c = 0; c < kColumns; ++c) part[c] = Op::step(part[c], x[c]);
    n -= steps * kColumns;
    if (steps > 0) {
      for (int half = kColumns / 2; half >= 4; half /= 2)
        for (int c = 0; c < half; ++c) part[c] = Op::merge(part[c], part[c + half]);
      for (int c = 0; c < 4; ++c) *total = Op::join(*total, part[c]);
    }
    if (n < kColumns) {
      for (; n > 0; --n, ++x) *total = Op::join(*total, Op::step(Op::part0(), *x));
    }
  }
}

// kWidth columns, or where that is 0 `width` of them.
template <class Op, int kWidth, class T, class U>
inline void reduce_columns(const Reduce& p, const T* x, U* y, int64_t width) {
  const int64_t w = kWidth ? kWidth : width;
  constexpr int kRoom = kWidth ? kWidth : kColumns;
  typename Op::Total total[kRoom];
  for (int64_t c = 0; c < w; ++c) total[c] = Op::total0();
  int64_t at[kMaxRank] = {};
  for (int64_t k = 0; k < p.outer; k += kChunk) {
    typename Op::Part part[kRoom];
    for (int64_t c = 0; c < w; ++c) part[c] = Op::part0();
    const int64_t steps = least(kChunk, p.outer - k);
    if (p.n_reduced == 1) {
      const int64_t stride = p.reduced_stride[0];
      for (int64_t s = 0; s < steps; ++s, x += stride)
        for (int64_t c = 0; c < w; ++c) part[c] = Op::step(part[c], x[c]);
    } else {
      for (int64_t s = 0; s < steps; ++s) {
        for (int64_t c = 0; c < w; ++c) part[c] = Op::step(part[c], x[c]);
        x += next_reduced(p, at);
      }
    }
    for (int64_t c = 0; c < w; ++c) total[c] = Op::join(total[c], part[c]);
  }
  for (int64_t c = 0; c < w; ++c) y[c] = Op::finish(total[c], p.count);
}

template <class Op, class T, class U>
inline void run_reduce(const Reduce& p, const T* x, U* y, int64_t begin, int64_t end) {
  for (int64_t u = begin; u < end; ++u) {
    int64_t rest = u / p.blocks, from = 0;
    const int64_t block = u % p.blocks * kWide;
    U* to = y + (p.columns ? rest * p.columns + block : u);
    for (int32_t k = p.n_kept - 1; k >= 0; --k) {
      from += rest % p.kept[k] * p.kept_stride[k];
      rest /= p.kept[k];
    }
    if (p.columns) {
      const T* of = x + from + block;
      int64_t left = least(kWide, p.columns - block);
      if (left == kWide) {
        reduce_columns<Op, kWide>(p, of, to, left);
        continue;
      }
      if (left >= kColumns)
        reduce_columns<Op, kColumns>(p, of, to, left), of += kColumns, to += kColumns, left -= kColumns;
      if (left > 0) reduce_columns<Op, 0>(p, of, to, left);
      continue;
    }
    typename Op::Total total = Op::total0();
    int64_t at[kMaxRank] = {};
    for (int64_t k = 0; k < p.outer; ++k) {
      reduce_contiguous<Op>(x + from, p.row, &total);
      from += next_reduced(p, at);
    }
    *to = Op::finish(total, p.count);
  }
}

// axes attribute; empty or absent: all of them.
inline Status reduce_axes(const Request& r, DType dtype, Reduce* p) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  EDGERUN_TRY(sound(r.in[0], dtype));
  EDGERUN_TRY(sound(r.out[0], dtype));
  const int32_t rank = r.in[0].rank, count = r.attrs.size("axes");
  bool axes[kMaxRank] = {};
  int64_t list[kMaxRank];
  if (count > rank || !(count == 0 || ints(r, "axes", count, list))) return Status::bad_attribute;
  for (int32_t k = 0; k < rank; ++k) axes[k] = count == 0;
  for (int32_t k = 0; k < count; ++k) {
    if (list[k] < -rank || list[k] >= rank) return Status::bad_attribute;
    const int64_t axis = list[k] < 0 ? list[k] + rank : list[k];
    if (axes[axis]) return Status::bad_attribute;
    axes[axis] = true;
  }
  return plan_reduce(r.in[0], r.out[0], axes, p);
}

template <class Op, class T, DType kDType, Status (*resolve)(const Request&, DType, Reduce*)> struct ReduceKernel {
  static Status query(const Request& r, Need* need) {
    Reduce p;
    EDGERUN_TRY(resolve(r, kDType, &p));
    need_reduce(r, p, need);
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    return resolve(r, kDType, static_cast<Reduce*>(params));
  }
  static void run(const Run& r) {
    run_reduce<Op>(*static_cast<const Reduce*>(r.params), r.in[0].as<const T>(), r.out[0].as<T>(), r.begin, r.end);
  }
};

// ---- the operations
struct SumF32 {
  using Part = float;
  using Total = double;
  EDGERUN_INLINE static Part part0() { return 0.f; }
  EDGERUN_INLINE static Total total0() { return 0.; }
  EDGERUN_INLINE static Part step(Part a, float x) { return a + x; }
  EDGERUN_INLINE static Part merge(Part a, Part b) { return a + b; }
  EDGERUN_INLINE static Total join(Total t, Part a) { return t + static_cast<double>(a); }
  EDGERUN_INLINE static float finish(Total t, int64_t) { return static_cast<float>(t); }
};
struct MeanF32 : SumF32 {
  EDGERUN_INLINE static float finish(Total t, int64_t n) { return static_cast<float>(t / static_cast<double>(n)); }
};
struct ProdF32 {
  using Part = double;
  using Total = double;
  EDGERUN_INLINE static Part part0() { return 1.; }
  EDGERUN_INLINE static Total total0() { return 1.; }
  EDGERUN_INLINE static Part step(Part a, float x) { return a * static_cast<double>(x); }
  EDGERUN_INLINE static Part merge(Part a, Part b) { return a * b; }
  EDGERUN_INLINE static Total join(Total t, Part a) { return t * a; }
  EDGERUN_INLINE static float finish(Total t, int64_t) { return static_cast<float>(t); }
};
template <class T, class U> struct SumInt {  // U unsigned: wraps
  using Part = U;
  using Total = U;
  EDGERUN_INLINE static U part0() { return 0; }
  EDGERUN_INLINE static U total0() { return 0; }
  EDGERUN_INLINE static U step(U a, T x) { return a + static_cast<U>(x); }
  EDGERUN_INLINE static U merge(U a, U b) { return a + b; }
  EDGERUN_INLINE static U join(U t, U a) { return t + a; }
  EDGERUN_INLINE static T finish(U t, int64_t) { return static_cast<T>(t); }
};
template <class T> struct Lowest;
template <> struct Lowest<float> { static constexpr float low = -__builtin_inff(), high = __builtin_inff(); };
template <> struct Lowest<int32_t> { static constexpr int32_t low = INT32_MIN, high = INT32_MAX; };
template <> struct Lowest<int64_t> { static constexpr int64_t low = INT64_MIN, high = INT64_MAX; };
template <class T> struct MaxOf {  // NaN wins
  using Part = T;
  using Total = T;
  EDGERUN_INLINE static T part0() { return Lowest<T>::low; }
  EDGERUN_INLINE static T total0() { return Lowest<T>::low; }
  EDGERUN_INLINE static T step(T a, T x) { return a != a ? a : a > x ? a : x; }
  EDGERUN_INLINE static T merge(T a, T b) { return step(a, b); }
  EDGERUN_INLINE static T join(T t, T a) { return step(t, a); }
  EDGERUN_INLINE static T finish(T t, int64_t) { return t; }
};
template <class T> struct MinOf {
  using Part = T;
  using Total = T;
  EDGERUN_INLINE static T part0() { return Lowest<T>::high; }
  EDGERUN_INLINE static T total0() { return Lowest<T>::high; }
  EDGERUN_INLINE static T step(T a, T x) { return a != a ? a : a < x ? a : x; }
  EDGERUN_INLINE static T merge(T a, T b) { return step(a, b); }
  EDGERUN_INLINE static T join(T t, T a) { return step(t, a); }
  EDGERUN_INLINE static T finish(T t, int64_t) { return t; }
};

#define EDGERUN_REDUCE(NAME, T, CODE, ...)                                                                \
  extern const Kernel NAME##_kernel{#NAME, ReduceKernel<__VA_ARGS__, T, DType::CODE, reduce_axes>::query, \
                                    ReduceKernel<__VA_ARGS__, T, DType::CODE, reduce_axes>::prepare,      \
                                    ReduceKernel<__VA_ARGS__, T, DType::CODE, reduce_axes>::run};

}  // namespace edgerun::EDGERUN_ISA
