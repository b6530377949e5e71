// softmax and log_softmax along one axis: y = e^(x − max) / Σ e^(x − max), or its logarithm. NaN anywhere makes its row
// NaN. Contiguous rows are reduced across lanes; other axes take kLanes neighbouring rows side by side. Sums go to f64
// every kChunk vectors, so a row's length does not enter the error: y is within (8 + |x − max|) eps of its value.
// Checks: Σ y = 1 within kSumBound, of log_softmax Σ e^y = 1 and y finite; a sum also shows NaN. The index reported is
// the row's first.
#pragma once
#include "check.h"
#include "operand.h"
#include "vecmath.h"

namespace edgerun::EDGERUN_ISA {

inline constexpr float kSumBound = 64 * 1.1920929e-7f;
inline constexpr int64_t kFlush = 64;  // vectors
inline constexpr int64_t kFew = 4;     // rows that short are taken side by side

struct Softmax {
  int64_t n, inner, blocks, units;
  int64_t rows;  // of short contiguous rows; a unit is kRows of them
};

inline constexpr int64_t kRows = 8 * kLanes;

inline Status softmax_resolve(const Request& r, Softmax* p) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  EDGERUN_TRY(sound(r.in[0], DType::f32));
  EDGERUN_TRY(sound(r.out[0], DType::f32));
  const TensorView& x = r.in[0];
  if (!same_dims(x, r.out[0])) return Status::bad_shape;
  int32_t axis = 0;
  if (x.rank > 0) {
    const int64_t a = r.attrs.i("axis", -1);
    if (a < -x.rank || a >= x.rank) return Status::bad_attribute;
    axis = static_cast<int32_t>(a < 0 ? a + x.rank : a);
  }
  p->n = x.rank > 0 ? x.dims[axis] : 1;
  p->inner = x.rank > 0 ? x.span(axis + 1, x.rank) : 1;
  p->blocks = ceil_div(p->inner, kLanes);
  p->rows = x.rank > 0 ? x.span(0, axis) : 1;
  p->units = x.elements() == 0 ? 0 : p->inner == 1 && p->n <= kFew ? ceil_div(p->rows, kRows) : p->rows * p->blocks;
  return Status::ok;
}

inline void check_sum(CheckSink* sink, double sum, int64_t index, int64_t n) {
  sink->checked += static_cast<uint64_t>(n);
  const double off = sum - 1.0;
  if (EDGERUN_LIKELY((off < 0 ? -off : off) <= static_cast<double>(kSumBound))) return;
  const bool finite = off - off == 0;
  report(sink, finite ? kIdentity : kNonFinite, index, static_cast<float>(sum), 1.f, kSumBound);
}

EDGERUN_SIMD vf load_or(const float* p, int n, vf rest) {
  return n >= kLanes ? loadu(p) : select(first_lanes(n), load_partial(p, n), rest);
}

// What a checked row adds up to 1 of: y itself, or e^y, which is NaN where y is not finite.
template <bool kLog> EDGERUN_SIMD vf share(vf y) { return kLog ? add(exp(y), sub(y, y)) : y; }

template <bool kLog> inline double row_sum(const float* y, int64_t n) {
  double total = 0;
  vf sum = zero();
  int64_t k = 0, flush = 0;
  for (; k + kLanes <= n; k += kLanes) {
    sum = add(sum, share<kLog>(loadu(y + k)));
    if (++flush == kFlush) total += static_cast<double>(reduce_add(sum)), sum = zero(), flush = 0;
  }
  if (k < n) {
    const int rest = static_cast<int>(n - k);
    sum = add(sum, as_float(as_int(share<kLog>(load_partial(y + k, rest))) & first_lanes(rest)));
  }
  return total + static_cast<double>(reduce_add(sum));
}

// Calls f(offset, lanes) for whole vectors and for what is left.
template <class F> EDGERUN_SIMD void each_vector(int64_t n, const F& f) {
  int64_t k = 0;
  for (; k + kLanes <= n; k += kLanes) f(k, kLanes);
  if (k < n) f(k, static_cast<int>(n - k));
}

// A sum over vectors that is moved to f64 every kFlush of them.
struct LongSum {
  vf part = zero();
  double total = 0;
  int64_t since = 0;
  EDGERUN_INLINE void add_vector(vf v) {
    part = add(part, v);
    if (++since == kFlush) flush();
  }
  EDGERUN_INLINE void flush() { total += static_cast<double>(reduce_add(part)), part = zero(), since = 0; }
};

template <bool kLog> inline void softmax_row(const float* x, float* y, int64_t n, int64_t index, CheckSink* sink) {
  const vf lowest = broadcast(-__builtin_inff());
  vf top = lowest;
  each_vector(
      n, [&](int64_t k, int lanes)
             __attribute__((always_inline)) { top = max_nan(load_or(x + k, lanes, lowest), top); });
  const vf m = broadcast(reduce_max(top));
  LongSum sum;
  each_vector(
      n, [&](int64_t k, int lanes) __attribute__((always_inline)) {
        const vf d = sub(load_or(x + k, lanes, lowest), m);
        const vf e = exp(d);
        sum.add_vector(lanes == kLanes ? e : as_float(as_int(e) & first_lanes(lanes)));
        store_partial(y + k, kLog ? d : e, lanes);
      });
  sum.flush();
  const vf factor =
      kLog ? log(broadcast(static_cast<float>(sum.total))) : broadcast(static_cast<float>(1.0 / sum.total));
  LongSum check;
  each_vector(
      n, [&](int64_t k, int lanes) __attribute__((always_inline)) {
        const vf v = load_or(y + k, lanes, zero());
        vf out = kLog ? sub(v, factor) : mul(v, factor);
        if (lanes < kLanes) out = as_float(as_int(out) & first_lanes(lanes));
        store_partial(y + k, out, lanes);
        if (!kLog) check.add_vector(out);
      });
  if (!sink) return;
  check.flush();
  const bool faulty = fault_in(sink, index, index + n);
  if (faulty) inject(sink, index, y);
  check_sum(sink, kLog || faulty ? row_sum<kLog>(y, n) : check.total, index, n);
}

// Up to kLanes rows of at most kFew elements, one row a lane.
template <bool kLog>
inline void softmax_few(const float* x, float* y, int64_t n, int rows, int64_t index, CheckSink* sink) {
  float t[kFew][kLanes] = {};
  for (int row = 0; row < rows; ++row)
    for (int64_t k = 0; k < n; ++k) t[k][row] = x[row * n + k];
  vf top = loadu(t[0]);
  for (int64_t k = 1; k < n; ++k) top = max_nan(loadu(t[k]), top);
  vf sum = zero(), check = zero();
  for (int64_t k = 0; k < n; ++k) {
    const vf d = sub(loadu(t[k]), top), e = exp(d);
    sum = add(sum, e);
    storeu(t[k], kLog ? d : e);
  }
  const vf factor = kLog ? log(sum) : div(broadcast(1.f), sum);
  for (int64_t k = 0; k < n; ++k) {
    const vf out = kLog ? sub(loadu(t[k]), factor) : mul(loadu(t[k]), factor);
    if (!kLog || sink) check = add(check, share<kLog>(out));
    storeu(t[k], out);
  }
  for (int row = 0; row < rows; ++row)
    for (int64_t k = 0; k < n; ++k) y[row * n + k] = t[k][row];
  if (!sink) return;
  const bool faulty = fault_in(sink, index, index + rows * n);
  if (faulty) inject(sink, index, y);
  const vm wrong = not_less_equal(abs(sub(check, broadcast(1.f))), broadcast(kSumBound)) & first_lanes(rows);
  if (EDGERUN_LIKELY(!faulty && !any(wrong))) {
    sink->checked += static_cast<uint64_t>(rows * n);
    return;
  }
  for (int row = 0; row < rows; ++row) check_sum(sink, row_sum<kLog>(y + row * n, n), index + row * n, n);
}

// kLanes rows (or `width` of them) side by side; element k of row c is x[k·stride + c].
template <bool kLog> inline void softmax_columns(const float* x, float* y, int64_t n, int64_t stride, int width,
                                                 int64_t index, CheckSink* sink) {
  vf top = broadcast(-__builtin_inff());
  for (int64_t k = 0; k < n; ++k) top = max_nan(load_partial(x + k * stride, width), top);
  double total[kLanes] = {};
  vf sum = zero();
  for (int64_t k = 0, flush = 0; k < n; ++k) {
    const vf d = sub(load_partial(x + k * stride, width), top);
    const vf e = exp(d);
    sum = add(sum, e);
    if (++flush == kFlush || k + 1 == n) {
      for (int c = 0; c < kLanes; ++c) total[c] += static_cast<double>(sum[c]);
      sum = zero(), flush = 0;
    }
    store_partial(y + k * stride, kLog ? d : e, width);
  }
  vf factor = zero();
  for (int c = 0; c < width; ++c) factor[c] = static_cast<float>(kLog ? total[c] : 1.0 / total[c]);
  if (kLog) factor = log(factor);
  for (int64_t k = 0; k < n; ++k) {
    const vf v = load_partial(y + k * stride, width);
    store_partial(y + k * stride, kLog ? sub(v, factor) : mul(v, factor), width);
  }
  if (!sink) return;
  if (fault_in(sink, index, index + (n - 1) * stride + width) && (sink->fault->index - index) % stride < width)
    inject(sink, index, y);
  double check[kLanes] = {};
  for (int64_t k = 0; k < n; ++k) {
    const vf v = share<kLog>(load_partial(y + k * stride, width));
    for (int c = 0; c < kLanes; ++c) check[c] += static_cast<double>(v[c]);
  }
  for (int c = 0; c < width; ++c) check_sum(sink, check[c], index + c, n);
}

template <bool kLog> struct SoftmaxKernel {
  static Status query(const Request& r, Need* need) {
    Softmax p;
    EDGERUN_TRY(softmax_resolve(r, &p));
    need->params = sizeof p;
    need->units = p.units;
    need->work = 24.0 * static_cast<double>(r.in[0].elements());
    need->bytes = 8.0 * static_cast<double>(r.in[0].elements());
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    return softmax_resolve(r, static_cast<Softmax*>(params));
  }
  static void run(const Run& r) {
    const Softmax& p = *static_cast<const Softmax*>(r.params);
    const float* x = r.in[0].as<const float>();
    float* y = r.out[0].as<float>();
    for (int64_t u = r.begin; u < r.end; ++u) {
      if (p.inner == 1 && p.n <= kFew) {
        const int64_t end = least((u + 1) * kRows, p.rows);
        for (int64_t row = u * kRows; row < end; row += kLanes)
          softmax_few<kLog>(x + row * p.n, y + row * p.n, p.n, static_cast<int>(least(kLanes, end - row)), row * p.n,
                            r.sink);
        continue;
      }
      if (p.inner == 1) {
        softmax_row<kLog>(x + u * p.n, y + u * p.n, p.n, u * p.n, r.sink);
        continue;
      }
      const int64_t block = u % p.blocks * kLanes, index = u / p.blocks * p.n * p.inner + block;
      softmax_columns<kLog>(x + index, y + index, p.n, p.inner, static_cast<int>(least(kLanes, p.inner - block)), index,
                            r.sink);
    }
  }
};

}  // namespace edgerun::EDGERUN_ISA
