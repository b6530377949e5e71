// quantize_f32: y = saturate(round_half_even(x / scale) + zero) to i8 u8 i16 u16, NaN → zero. The quotient is a division,
// rounded once to float32 (on current CPUs as fast as multiplying by 1 / scale and finding out where that is not enough). With a sink every x is tested for being finite, and a fault to inject strikes x: y could not show it.
#include "check.h"
#include "elementwise/unary.h"
#include "quant/lanes.h"

EDGERUN_ISA_BEGIN
namespace {
inline constexpr int64_t kChecked = 1024;  // elements a check is folded over

struct Params {
  float scale;
  int32_t zero;       // of y with its sign bit flipped where that makes it: u8 for 8 bits, i16 for 16
  float low, high;    // of x / scale, so that y is in range
  bool wide, flips;
};

Status resolve(const Request& r, Params* p) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  EDGERUN_TRY(sound(r.in[0], DType::f32));
  EDGERUN_TRY(sound(r.out[0]));
  const DType t = r.out[0].dtype;
  if (t != DType::i8 && t != DType::u8 && t != DType::i16 && t != DType::u16) return Status::bad_dtype;
  if (!same_dims(r.in[0], r.out[0])) return Status::bad_shape;
  if (!floats(r, "scale", 1, &p->scale)) return Status::bad_attribute;
  if (!(p->scale > 0 && p->scale - p->scale == 0)) return Status::bad_attribute;
  const int64_t least_y = t == DType::i8 ? INT8_MIN : t == DType::i16 ? INT16_MIN : 0;
  const int64_t most_y = t == DType::i8 ? INT8_MAX : t == DType::i16 ? INT16_MAX : t == DType::u8 ? UINT8_MAX : UINT16_MAX;
  const int64_t zero = r.attrs.i("zero");
  if (zero < least_y || zero > most_y) return Status::bad_attribute;
  p->low = static_cast<float>(least_y - zero);
  p->high = static_cast<float>(most_y - zero);
  p->wide = size_of(t) == 2;
  p->flips = t == DType::i8 || t == DType::u16;
  p->zero = static_cast<int32_t>(zero) + (t == DType::i8 ? 128 : t == DType::u16 ? INT16_MIN : 0);
  return Status::ok;
}

Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, &p));
  need_unary(r, 8, need);
  need->params = sizeof p;
  return Status::ok;
}
Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Params*>(params)); }

struct Quantiser {
  vf scale, low, high;
  vi zero;

  EDGERUN_INLINE explicit Quantiser(const Params& p)
      : scale(broadcast(p.scale)), low(broadcast(p.low)), high(broadcast(p.high)), zero(broadcast_int(p.zero)) {}
  EDGERUN_INLINE vi operator()(vf x) const {
    const vf q = div(x, scale), number = as_float(as_int(q) & equal(q, q));
    return round_int(min(max(number, low), high)) + zero;
  }
};

// n elements; kWide: 16 bits. A vector of results takes kParts vectors of x.
template <bool kWide, bool kChecks> void convert(const Params& p, const float* x, uint8_t* y, int64_t n, Checker* seen) {
  constexpr int kParts = kWide ? 2 : 4, kMany = kParts * kLanes;
  const Quantiser quantise(p);
  const v8 flip = (v8)(kWide ? broadcast_int(p.flips ? static_cast<int32_t>(0x80008000u) : 0)
                             : broadcast_int(p.flips ? static_cast<int32_t>(0x80808080u) : 0));
  Checker local;
  float rest[kMany] = {};
  for (int64_t k = 0; k < n; k += kMany) {
    const bool whole = n - k >= kMany;
    const float* from = x + k;
    if (EDGERUN_UNLIKELY(!whole)) __builtin_memcpy(rest, from, static_cast<size_t>(n - k) * 4), from = rest;
    vi steps[4];
    for (int c = 0; c < kParts; ++c) {
      const vf v = loadu(from + c * kLanes);
      if (kChecks) local.finite(v);
      steps[c] = quantise(v);
    }
    const v8 out = flip ^ (kWide ? (v8)narrow_ints_in_order(steps[0], steps[1])
                                 : narrow_ints_in_order(steps[0], steps[1], steps[2], steps[3]));
    uint8_t* to = y + k * (kWide ? 2 : 1);
    if (EDGERUN_LIKELY(whole))
      storeu_bytes(to, out);
    else
      store_bytes_partial(to, out, (n - k) * (kWide ? 2 : 1));
  }
  if (kChecks) seen->join(local);
}

template <bool kWide> void part(const Params& p, const float* x, uint8_t* y, int64_t index, int64_t n, CheckSink* sink) {
  if (!sink) return convert<kWide, false>(p, x, y, n, nullptr);
  float struck[kChecked];
  if (fault_in(sink, index, index + n)) {
    __builtin_memcpy(struck, x, static_cast<size_t>(n) * 4);
    const int64_t at = sink->fault->index - index;
    int32_t bits;
    __builtin_memcpy(&bits, struck + at, 4);
    bits ^= static_cast<int32_t>(sink->fault->mask);
    __builtin_memcpy(struck + at, &bits, 4);
    x = struck;
  }
  Checker seen;
  convert<kWide, true>(p, x, y, n, &seen);
  fold(seen, sink, index, n);
}

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const float* x = r.in[0].as<const float>();
  uint8_t* y = r.out[0].as<uint8_t>();
  const int64_t end = least(r.end * kBlock, r.out[0].elements());
  for (int64_t k = r.begin * kBlock; k < end; k += kChecked) {
    const int64_t n = least(kChecked, end - k);
    p.wide ? part<true>(p, x + k, y + 2 * k, k, n, r.sink) : part<false>(p, x + k, y + k, k, n, r.sink);
  }
}
}  // namespace
extern const Kernel quantize_f32_kernel{"quantize_f32", query, prepare, run};
EDGERUN_ISA_END
