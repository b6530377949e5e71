// qsoftmax_{i8,u8}: softmax of bytes along `axis` by a table i32[256] of e^(-scale_x d) 2^30, to f32 or to bytes:
//   e = table[max - x], s = sum e;  f32: (float)((double)e / (double)s)
//   bytes: clamp(y_zero + (2 e R + 2^12 s) / (2^13 s), low, high), R = `inverse` = round(2^12 / scale_y), integer division
// In place where y is of bytes.
//
// The integer quotient is floor(e R / (2^12 s) + 1/2), taken in f64: that is right unless it comes out within kDoubt of an
// integer, where the division is done in integers.
#include "quant/bytes.h"

EDGERUN_ISA_BEGIN
namespace {
inline constexpr int64_t kChunk = 64;             // elements, or neighbouring rows
inline constexpr int64_t kUnit = 4096;            // elements of a unit of work, about
inline constexpr int64_t kLongest = 1 << 19;      // of a row: 2 e R + 2^12 s stays below 2^63
inline constexpr int32_t kMostInverse = 1 << 30;
inline constexpr double kDoubt = 1.0 / (1 << 30); // the quotient is below 2^19: 4 roundings of at most 2^-34 each

struct Params {
  int64_t n, inner, rows, blocks, units;  // a unit: `block` rows side by side, or one after the other where inner is 1
  int64_t block;
  int64_t inverse;
  ByteOutput y;
  uint8_t flip;
  bool to_float;
};

template <DType T> Status resolve(const Request& r, Params* p) {
  EDGERUN_TRY(arity(r, 2, 2, 1));
  const TensorView &x = r.in[0], &table = r.in[1], &y = r.out[0];
  EDGERUN_TRY(sound(x, T));
  EDGERUN_TRY(sound(table, DType::i32));
  EDGERUN_TRY(sound(y));
  if (!same_dims(x, y)) return Status::bad_shape;
  int32_t axis = 0;
  if (x.rank > 0) {
    const int64_t a = r.attrs.i("axis", -1);
    if (a < -x.rank || a >= x.rank) return Status::bad_attribute;
    axis = static_cast<int32_t>(a < 0 ? a + x.rank : a);
  }
  if (table.rank != 1) return Status::bad_rank;
  if (table.dims[0] != 256) return Status::bad_shape;
  if (!table.data) return Status::not_constant;
  const int32_t* t = table.as<const int32_t>();
  for (int k = 0; k < 256; ++k)
    if (t[k] < 0 || t[k] > 1 << 30) return Status::bad_attribute;
  if (t[0] == 0) return Status::bad_attribute;  // the largest element's: no sum is 0 then
  p->to_float = y.dtype == DType::f32;
  p->inverse = 0, p->y = {};
  if (!p->to_float) {
    EDGERUN_TRY(byte_output(r, y.dtype, &p->y));
    if (!ints(r, "inverse", 1, &p->inverse) || p->inverse < 0 || p->inverse > kMostInverse) return Status::bad_attribute;
  }
  p->n = x.rank > 0 ? x.dims[axis] : 1;
  if (p->n > kLongest) return Status::too_large;
  p->inner = x.rank > 0 ? x.span(axis + 1, x.rank) : 1;
  p->rows = x.rank > 0 ? x.span(0, axis) : 1;
  p->flip = T == DType::i8 ? 0x80 : 0;
  p->block = p->inner == 1 ? most(1, kUnit / most(p->n, 1)) : kChunk;
  p->blocks = p->inner == 1 ? 1 : ceil_div(p->inner, kChunk);
  p->units = x.elements() == 0 ? 0 : p->inner == 1 ? ceil_div(p->rows, p->block) : p->rows * p->blocks;
  return Status::ok;
}

// Up to kChunk results from their e; `sum`: of each, or of all where kOne.
template <bool kOne> void floats_of(const int32_t* e, const int64_t* sum, float* y, int64_t n) {
  const double all = static_cast<double>(*sum);
  for (int64_t k = 0; k < n; ++k)
    y[k] = static_cast<float>(static_cast<double>(e[k]) / (kOne ? all : static_cast<double>(sum[k])));
}

template <bool kOne> void bytes_of(const Params& p, const int32_t* e, const int64_t* sum, uint8_t* y, int64_t n) {
  const double scale = static_cast<double>(p.inverse) / 4096, all = scale / static_cast<double>(*sum);
  int32_t steps[kChunk];
  int32_t doubtful = 0;
  for (int64_t k = 0; k < n; ++k) {
    const double q = static_cast<double>(e[k]) * (kOne ? all : scale / static_cast<double>(sum[k])) + 0.5;
    steps[k] = static_cast<int32_t>(q);
    const double part = q - static_cast<double>(steps[k]);
    doubtful |= (part < kDoubt) | (part > 1 - kDoubt);
  }
  if (EDGERUN_UNLIKELY(doubtful))
    for (int64_t k = 0; k < n; ++k) {
      const int64_t s = sum[kOne ? 0 : k];
      steps[k] = static_cast<int32_t>((2 * p.inverse * e[k] + (s << 12)) / (s << 13));
    }
  const int32_t zero = p.y.zero, low = p.y.low, high = p.y.high;
  for (int64_t k = 0; k < n; ++k) {
    const int32_t v = steps[k] + zero;
    y[k] = static_cast<uint8_t>(v < low ? low : v > high ? high : v) ^ p.y.flip;
  }
}

template <bool kOne> void results(const Params& p, const int32_t* e, const int64_t* sum, void* y, int64_t index, int64_t n) {
  if (p.to_float) return floats_of<kOne>(e, sum, static_cast<float*>(y) + index, n);
  bytes_of<kOne>(p, e, sum, static_cast<uint8_t*>(y) + index, n);
}

uint8_t largest(const uint8_t* x, uint8_t flip, int64_t n) {
  int64_t k = 0;
  uint8_t top = 0;
  if (n >= kBytes) {
    const v8 f = broadcast_byte(flip);
    v8 acc = loadu_bytes(x) ^ f;
    for (k = kBytes; k + kBytes <= n; k += kBytes) acc = max_bytes(acc, loadu_bytes(x + k) ^ f);
    for (int c = 0; c < kBytes; ++c) top = acc[c] > top ? acc[c] : top;
  }
  for (; k < n; ++k) {
    const uint8_t v = x[k] ^ flip;
    top = v > top ? v : top;
  }
  return top;
}

void one_row(const Params& p, const int32_t* table, const uint8_t* x, void* y, int64_t index) {
  const int64_t n = p.n;
  const uint8_t top = largest(x + index, p.flip, n);
  const uint8_t* row = x + index;
  int64_t sum = 0;
  for (int64_t k = 0; k < n; ++k) sum += table[static_cast<uint8_t>(top - (row[k] ^ p.flip))];
  int32_t e[kChunk];
  for (int64_t k = 0; k < n; k += kChunk) {
    const int64_t some = least(kChunk, n - k);
    for (int64_t c = 0; c < some; ++c) e[c] = table[static_cast<uint8_t>(top - (row[k + c] ^ p.flip))];
    results<true>(p, e, &sum, y, index + k, some);
  }
}

// `width` rows side by side; element k of row c is x[index + k inner + c].
void columns(const Params& p, const int32_t* table, const uint8_t* x, void* y, int64_t index, int64_t width) {
  uint8_t top[kChunk] = {};
  int64_t sum[kChunk] = {};
  int32_t e[kChunk];
  for (int64_t k = 0; k < p.n; ++k)
    for (int64_t c = 0; c < width; ++c) {
      const uint8_t v = x[index + k * p.inner + c] ^ p.flip;
      top[c] = v > top[c] ? v : top[c];
    }
  for (int64_t k = 0; k < p.n; ++k)
    for (int64_t c = 0; c < width; ++c)
      sum[c] += table[static_cast<uint8_t>(top[c] - (x[index + k * p.inner + c] ^ p.flip))];
  for (int64_t k = 0; k < p.n; ++k) {
    const int64_t from = index + k * p.inner;
    for (int64_t c = 0; c < width; ++c) e[c] = table[static_cast<uint8_t>(top[c] - (x[from + c] ^ p.flip))];
    results<false>(p, e, sum, y, from, width);
  }
}

template <DType T> Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve<T>(r, &p));
  need->params = sizeof p;
  need->units = p.units;
  need->work = 16.0 * static_cast<double>(r.in[0].elements());
  need->bytes = static_cast<double>(r.in[0].elements()) * static_cast<double>(1 + size_of(r.out[0].dtype));
  return Status::ok;
}
template <DType T> Status prepare(const Request& r, void* params, void*) { return resolve<T>(r, static_cast<Params*>(params)); }

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const int32_t* table = r.in[1].as<const int32_t>();
  const uint8_t* x = r.in[0].as<const uint8_t>();
  void* y = r.out[0].data;
  for (int64_t u = r.begin; u < r.end; ++u) {
    if (p.inner != 1) {
      const int64_t first = u % p.blocks * kChunk;
      columns(p, table, x, y, u / p.blocks * p.n * p.inner + first, least(kChunk, p.inner - first));
      continue;
    }
    const int64_t end = least((u + 1) * p.block, p.rows);
    for (int64_t row = u * p.block; row < end; ++row) one_row(p, table, x, y, row * p.n);
  }
}
}  // namespace
extern const Kernel qsoftmax_i8_kernel{"qsoftmax_i8", query<DType::i8>, prepare<DType::i8>, run};
extern const Kernel qsoftmax_u8_kernel{"qsoftmax_u8", query<DType::u8>, prepare<DType::u8>, run};
EDGERUN_ISA_END
