// lut_add_x8: the sum of functions of one byte each, tables of int32 steps of 2^-shift, inputs x_0 … x_n-1 and table i32[n, 256]:
//   y = clamp(((table[0][x_0] + … + table[n-1][x_n-1] + 2^(shift-1)) >> shift) + y_zero, low, high)
// The bytes are taken as unsigned; the sums wrap. The sums of kRun bytes are looked up one by one, then narrowed.
#include "elementwise/unary.h"
#include "quant/bytes.h"

EDGERUN_ISA_BEGIN
namespace {
inline constexpr int32_t kMostTerms = 8;
inline constexpr int64_t kRun = 256;  // a multiple of kBytes on every instruction set

struct Params {
  ByteOutput y;
  int32_t shift;
};

Status resolve(const Request& r, Params* p) {
  EDGERUN_TRY(arity(r, 3, kMostTerms + 1, 1));
  const int32_t terms = r.n_in - 1;
  const TensorView& table = r.in[terms];
  for (int32_t k = 0; k < terms; ++k) EDGERUN_TRY(sound_size(r.in[k], 1));
  EDGERUN_TRY(sound(table, DType::i32));
  EDGERUN_TRY(sound(r.out[0]));
  EDGERUN_TRY(byte_output(r, r.out[0].dtype, &p->y));
  if (table.rank != 2) return Status::bad_rank;
  if (table.dims[0] != terms || table.dims[1] != 256) return Status::bad_shape;
  for (int32_t k = 0; k < terms; ++k)
    if (!same_dims(r.in[k], r.out[0])) return Status::bad_shape;
  int64_t shift;
  if (!ints(r, "shift", 1, &shift) || shift < 1 || shift > 30) return Status::bad_attribute;
  p->shift = static_cast<int32_t>(shift);
  return Status::ok;
}
Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, &p));
  need_unary(r, 2.0 * (r.n_in - 1), need);
  need->params = sizeof p;
  return Status::ok;
}
Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Params*>(params)); }

struct Steps {
  vu half;
  vi zero;
  v8 low, high, flip;
  int shift;

  explicit Steps(const Params& p)
      : half((vu)broadcast_int(int32_t{1} << (p.shift - 1))), zero(broadcast_int(p.y.zero)), low(broadcast_byte(p.y.low)),
        high(broadcast_byte(p.y.high)), flip(broadcast_byte(p.y.flip)), shift(p.shift) {}
  EDGERUN_INLINE v8 bytes(const uint32_t* sums) const {
    vi steps[4];
    for (int k = 0; k < 4; ++k) {
      vu s;
      __builtin_memcpy(&s, sums + k * kLanes, sizeof s);
      steps[k] = ((vi)(s + half) >> shift) + zero;  // |sum| >> 1 leaves room for the zero point
    }
    return min_bytes(max_bytes(narrow_ints_in_order(steps[0], steps[1], steps[2], steps[3]), low), high) ^ flip;
  }
};

void run(const Run& r) {
  const Steps steps(*static_cast<const Params*>(r.params));
  const int32_t terms = r.n_in - 1;
  const uint32_t* table = r.in[terms].as<const uint32_t>();
  uint8_t* y = r.out[0].as<uint8_t>();
  const int64_t end = least(r.end * kBlock, r.out[0].elements());
  uint32_t sums[kRun] = {};
  for (int64_t at = r.begin * kBlock; at < end; at += kRun) {
    const int64_t n = least(kRun, end - at);
    const uint8_t *a = r.in[0].as<const uint8_t>() + at, *b = r.in[1].as<const uint8_t>() + at;
    for (int64_t k = 0; k < n; ++k) sums[k] = table[a[k]] + table[256 + b[k]];
    for (int32_t t = 2; t < terms; ++t) {
      const uint8_t* x = r.in[t].as<const uint8_t>() + at;
      for (int64_t k = 0; k < n; ++k) sums[k] += table[256 * t + x[k]];
    }
    int64_t k = 0;
    for (; k + kBytes <= n; k += kBytes) storeu_bytes(y + at + k, steps.bytes(sums + k));
    if (k < n) store_bytes_partial(y + at + k, steps.bytes(sums + k), n - k);
  }
}
}  // namespace
extern const Kernel lut_add_x8_kernel{"lut_add_x8", query, prepare, run};
EDGERUN_ISA_END
