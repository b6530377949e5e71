// top_k: the K greatest (largest = 1) or least elements along one axis, best first, and their positions (i64); of equals the
// lower position comes first. A NaN counts as greater than every number. K is the outputs'. A unit is one line.
#include "operand.h"

EDGERUN_ISA_BEGIN
namespace {
struct Lines {
  int64_t n, k, inner;
  bool largest;
};

Status resolve(const Request& r, DType dtype, Lines* p) {
  EDGERUN_TRY(arity(r, 1, 1, 2));
  const TensorView &x = r.in[0], &y = r.out[0];
  EDGERUN_TRY(sound(x, dtype));
  EDGERUN_TRY(sound(y, dtype));
  EDGERUN_TRY(sound(r.out[1], DType::i64));
  int32_t axis;
  EDGERUN_TRY(axis_of(r, x.rank, &axis));
  if (!same_dims(y, r.out[1]) || y.rank != x.rank) return Status::bad_shape;
  for (int32_t k = 0; k < x.rank; ++k)
    if (k == axis ? y.dims[k] > x.dims[k] : y.dims[k] != x.dims[k]) return Status::bad_shape;
  *p = {x.dims[axis], y.dims[axis], x.span(axis + 1, x.rank), r.attrs.i("largest", 1) != 0};
  return Status::ok;
}

// One line: a heap of the best so far, the worst of them on top.
template <class T> struct Line {
  const T* x;
  int64_t stride;
  int64_t* heap;
  bool largest;

  bool before(int64_t i, int64_t j) const {  // i comes before j in the result
    const T a = x[i * stride], b = x[j * stride];
    if (a == b || (a != a && b != b)) return i < j;
    return (b != b || a < b) != largest;
  }
  void sink(int64_t at, int64_t n) {
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
      if (child + 1 < n && before(heap[child], heap[child + 1])) ++child;
      if (!before(heap[at], heap[child])) return;
      const int64_t moved = heap[at];
      heap[at] = heap[child], heap[child] = moved;
    }
  }
  void select(int64_t n, int64_t k) {
    for (int64_t i = 0; i < k; ++i) heap[i] = i;
    for (int64_t i = k / 2; i-- > 0;) sink(i, k);
    for (int64_t i = k; i < n; ++i)
      if (before(i, heap[0])) heap[0] = i, sink(0, k);
    for (int64_t i = k; i-- > 1;) {
      const int64_t worst = heap[0];
      heap[0] = heap[i], heap[i] = worst;
      sink(0, i);
    }
  }
};

template <class T, DType kDType> struct Kernels {
  static Status query(const Request& r, Need* need) {
    Lines p;
    EDGERUN_TRY(resolve(r, kDType, &p));
    need->params = sizeof p;
    need->scratch = static_cast<size_t>(p.k) * sizeof(int64_t);
    need->units = p.k ? r.out[0].elements() / p.k : 0;
    need->work = 8.0 * static_cast<double>(r.in[0].elements());
    need->bytes = static_cast<double>(sizeof(T)) * static_cast<double>(r.in[0].elements());
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) { return resolve(r, kDType, static_cast<Lines*>(params)); }
  static void run(const Run& r) {
    const Lines& p = *static_cast<const Lines*>(r.params);
    for (int64_t u = r.begin; u < r.end; ++u) {
      const int64_t outer = u / p.inner, inner = u % p.inner;
      Line<T> line{r.in[0].as<const T>() + outer * p.n * p.inner + inner, p.inner, static_cast<int64_t*>(r.scratch), p.largest};
      line.select(p.n, p.k);
      for (int64_t k = 0; k < p.k; ++k) {
        const int64_t to = (outer * p.k + k) * p.inner + inner;
        r.out[0].as<T>()[to] = line.x[line.heap[k] * p.inner];
        r.out[1].as<int64_t>()[to] = line.heap[k];
      }
    }
  }
};
}  // namespace
#define EDGERUN_TOP_K(SUFFIX, T)                                                                                          \
  extern const Kernel top_k_##SUFFIX##_kernel{"top_k_" #SUFFIX, Kernels<T, DType::SUFFIX>::query,                         \
                                              Kernels<T, DType::SUFFIX>::prepare, Kernels<T, DType::SUFFIX>::run};
EDGERUN_TOP_K(f32, float)
EDGERUN_TOP_K(f64, double)
EDGERUN_TOP_K(i32, int32_t)
EDGERUN_TOP_K(i64, int64_t)
EDGERUN_ISA_END
