// qsoftmax_{i8,u8}: softmax of bytes along `axis` by a table i32[256] of e^(-scale_x d) 2^30, to f32 or to bytes:
//   e = table[max - x], s = sum e;  f32: (float)((double)e / (double)s)
//   bytes: clamp(y_zero + (2 e R + 2^12 s) / (2^13 s), low, high), R = `inverse` = round(2^12 / scale_y), integer division
// In place where y is of bytes.
//
// The integer quotient is floor(q), q = e R / (2^12 s) + 1/2 < 2^19, taken in f64 as a multiple of 2^-30: that is right unless it
// comes out within kDoubt of an integer, where the division is done in integers.
#include "quant/bytes.h"

EDGERUN_ISA_BEGIN
namespace {
inline constexpr int64_t kChunk = 1024;           // elements of a row that are looked up at once
inline constexpr int64_t kColumns = 64;           // neighbouring rows
inline constexpr int64_t kUnit = 4096;            // elements of a unit of work, about
inline constexpr int64_t kLongest = 1 << 19;      // of a row: 2 e R + 2^12 s stays below 2^63
inline constexpr int32_t kMostInverse = 1 << 30;
inline constexpr int kFraction = 30;              // bits
inline constexpr double kGrid = 0x1.8p22;         // a number of its size is a multiple of 2^-30
inline constexpr int64_t kDoubt = 2;              // times 2^-30; two roundings of 2^-34 and one of 2^-31 precede

struct Params {
  int64_t n, inner, rows, blocks, units;
  int64_t block;  // rows of a unit: side by side, or one after the other where inner is 1
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
  p->block = p->inner == 1 ? most(1, kUnit / most(p->n, 1)) : kColumns;
  p->blocks = p->inner == 1 ? 1 : ceil_div(p->inner, kColumns);
  p->units = x.elements() == 0 ? 0 : p->inner == 1 ? ceil_div(p->rows, p->block) : p->rows * p->blocks;
  return Status::ok;
}

// What e is divided by (f32) or multiplied with (bytes).
double divisor_of(const Params& p, int64_t sum) {
  return p.to_float ? static_cast<double>(sum) : static_cast<double>(p.inverse) / 4096 / static_cast<double>(sum);
}

// Up to kChunk results from their e and its divisor: one of each, or one of all (kOne).
template <bool kOne> void floats_of(const int32_t* e, const double* divisor, float* y, int64_t n) {
  const double all = *divisor;
  for (int64_t k = 0; k < n; ++k) y[k] = static_cast<float>(static_cast<double>(e[k]) / (kOne ? all : divisor[k]));
}

int64_t bits_of(double x) {
  int64_t bits;
  __builtin_memcpy(&bits, &x, 8);
  return bits;
}

template <bool kOne>
void bytes_of(const Params& p, const int32_t* e, const double* divisor, const int64_t* sum, uint8_t* y, int64_t n) {
  const double all = *divisor;
  const int32_t zero = p.y.zero, low = p.y.low, high = p.y.high, flip = p.y.flip;
  const int32_t grid = static_cast<int32_t>(bits_of(kGrid) >> kFraction);
  int32_t steps[kChunk];
  int64_t doubtful = 0;
  for (int64_t k = 0; k < n; ++k) {
    const int64_t q = bits_of(static_cast<double>(e[k]) * (kOne ? all : divisor[k]) + (kGrid + 0.5));
    steps[k] = static_cast<int32_t>(q >> kFraction) - grid;
    doubtful |= ((q + kDoubt) & ((int64_t{1} << kFraction) - 1)) <= 2 * kDoubt ? 1 : 0;
  }
  if (EDGERUN_UNLIKELY(doubtful))
    for (int64_t k = 0; k < n; ++k) {
      const int64_t s = sum[kOne ? 0 : k];
      steps[k] = static_cast<int32_t>((2 * p.inverse * e[k] + (s << 12)) / (s << 13));
    }
  for (int64_t k = 0; k < n; ++k) {
    const int32_t v = steps[k] + zero, above = v < low ? low : v;
    y[k] = static_cast<uint8_t>((above > high ? high : above) ^ flip);
  }
}

template <bool kOne>
void results(const Params& p, const int32_t* e, const double* divisor, const int64_t* sum, void* y, int64_t index, int64_t n) {
  if (p.to_float) return floats_of<kOne>(e, divisor, static_cast<float*>(y) + index, n);
  bytes_of<kOne>(p, e, divisor, sum, static_cast<uint8_t*>(y) + index, n);
}

uint8_t largest(const uint8_t* x, uint8_t flip, int64_t n) {
  const v8 f = broadcast_byte(flip);
  v8 acc{};
  int64_t k = 0;
  for (; k + kBytes <= n; k += kBytes) acc = max_bytes(acc, loadu_bytes(x + k) ^ f);
  if (n >= kBytes) {
    if (k < n) acc = max_bytes(acc, loadu_bytes(x + n - kBytes) ^ f);
    return reduce_max_bytes(acc);
  }
  uint8_t top = 0;
  for (; k < n; ++k) top = (x[k] ^ flip) > top ? x[k] ^ flip : top;
  return top;
}

// T: int8_t or uint8_t. `reversed` holds the table from its end, so that of[x] is x's entry where of = reversed + from(top).
template <class T> int64_t from(uint8_t top) { return 255 - top + (T(-1) < 0 ? 128 : 0); }

// e of up to kChunk elements; returns their sum.
template <class T> int64_t look_up(const int32_t* of, const T* x, int32_t* e, int64_t n) {
  const uint32_t* entry = reinterpret_cast<const uint32_t*>(of);  // widened for nothing
  uint64_t sum = 0;
  int64_t k = 0;
  for (; k + 4 <= n; k += 4) {
    const uint64_t a = entry[x[k]], b = entry[x[k + 1]], c = entry[x[k + 2]], d = entry[x[k + 3]];
    e[k] = static_cast<int32_t>(a), e[k + 1] = static_cast<int32_t>(b);
    e[k + 2] = static_cast<int32_t>(c), e[k + 3] = static_cast<int32_t>(d);
    sum += (a + b) + (c + d);
  }
  for (; k < n; ++k) sum += entry[x[k]], e[k] = of[x[k]];
  return static_cast<int64_t>(sum);
}

template <class T> void one_row(const Params& p, const int32_t* reversed, const T* x, void* y, int64_t index) {
  const int64_t n = p.n;
  x += index;
  const int32_t* of = reversed + from<T>(largest(reinterpret_cast<const uint8_t*>(x), p.flip, n));
  int32_t e[kChunk];
  int64_t sum = 0;
  for (int64_t k = 0; k < n; k += kChunk) sum += look_up(of, x + k, e, least(kChunk, n - k));
  const double divisor = divisor_of(p, sum);
  if (n <= kChunk) return results<true>(p, e, &divisor, &sum, y, index, n);
  for (int64_t k = 0; k < n; k += kChunk) {
    const int64_t some = least(kChunk, n - k);
    look_up(of, x + k, e, some);
    results<true>(p, e, &divisor, &sum, y, index + k, some);
  }
}

// `width` rows side by side; element k of row c is x[index + k inner + c].
template <class T> void columns(const Params& p, const int32_t* reversed, const T* x, void* y, int64_t index, int64_t width) {
  uint8_t top[kColumns] = {};
  const int32_t* of[kColumns];
  int64_t sum[kColumns] = {};
  double divisor[kColumns];
  int32_t e[kColumns];
  x += index;
  for (int64_t k = 0; k < p.n; ++k)
    for (int64_t c = 0; c < width; ++c) {
      const uint8_t v = static_cast<uint8_t>(x[k * p.inner + c]) ^ p.flip;
      top[c] = v > top[c] ? v : top[c];
    }
  for (int64_t c = 0; c < width; ++c) of[c] = reversed + from<T>(top[c]);
  for (int64_t k = 0; k < p.n; ++k)
    for (int64_t c = 0; c < width; ++c) sum[c] += of[c][x[k * p.inner + c]];
  for (int64_t c = 0; c < width; ++c) divisor[c] = divisor_of(p, sum[c]);
  for (int64_t k = 0; k < p.n; ++k) {
    for (int64_t c = 0; c < width; ++c) e[c] = of[c][x[k * p.inner + c]];
    results<false>(p, e, divisor, sum, y, index + k * p.inner, width);
  }
}

template <DType T> Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve<T>(r, &p));
  need->params = sizeof p;
  need->packed = 256 * sizeof(int32_t);
  need->units = p.units;
  need->work = 16.0 * static_cast<double>(r.in[0].elements());
  need->bytes = static_cast<double>(r.in[0].elements()) * static_cast<double>(1 + size_of(r.out[0].dtype));
  return Status::ok;
}
template <DType T> Status prepare(const Request& r, void* params, void* packed) {
  EDGERUN_TRY(resolve<T>(r, static_cast<Params*>(params)));
  for (int k = 0; k < 256; ++k) static_cast<int32_t*>(packed)[k] = r.in[1].as<const int32_t>()[255 - k];
  return Status::ok;
}

template <class T> void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const int32_t* reversed = static_cast<const int32_t*>(r.packed);
  const T* x = r.in[0].as<const T>();
  void* y = r.out[0].data;
  for (int64_t u = r.begin; u < r.end; ++u) {
    if (p.inner != 1) {
      const int64_t first = u % p.blocks * kColumns;
      columns(p, reversed, x, y, u / p.blocks * p.n * p.inner + first, least(kColumns, p.inner - first));
      continue;
    }
    const int64_t end = least((u + 1) * p.block, p.rows);
    for (int64_t row = u * p.block; row < end; ++row) one_row(p, reversed, x, y, row * p.n);
  }
}
}  // namespace
extern const Kernel qsoftmax_i8_kernel{"qsoftmax_i8", query<DType::i8>, prepare<DType::i8>, run<int8_t>};
extern const Kernel qsoftmax_u8_kernel{"qsoftmax_u8", query<DType::u8>, prepare<DType::u8>, run<uint8_t>};
EDGERUN_ISA_END
