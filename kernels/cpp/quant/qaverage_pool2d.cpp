// qaverage_pool2d_{i8,u8}: the mean of every window in another scale, x[N,H,W,C], scale i32[2, KH·KW] → y[N,OH,OW,C]:
//   y = clamp(rescale_even(sum (x - x_zero)) + y_zero, low, high) with (m, left) of column count - 1
// The count is that of average_pool2d_f32; padding adds nothing. No tap: y_zero. Sums are of 16 bits for up to kFewTaps taps.
#include "byte_window.h"
#include "quant/bytes.h"

EDGERUN_ISA_BEGIN
namespace {
static_assert(kFewTaps * 255 < 1 << 16, "their sum fits 16 bits");

struct Params {
  Window window;
  ByteInput x;
  ByteOutput y;
  bool include;
};

struct Mean {
  ByteStore out;
  v8 flip;
  vi shift, factor, twice_m, left;  // shift: what the zero points add to a sum
  bool shifts;

  EDGERUN_INLINE static void add_pair(v8 a, v8 b, v16u* low, v16u* high) {
    v16u l, h;
    add_wide(a, b, &l, &h);
    *low += l, *high += h;
  }
  EDGERUN_INLINE static void add_words(v16u low, v16u high, vi* sums) {
    vi q[4];
    widen_unsigned_words((v16)low, &q[0], &q[1]);
    widen_unsigned_words((v16)high, &q[2], &q[3]);
    for (int k = 0; k < 4; ++k) sums[k] += q[k];
  }
  template <class Load> EDGERUN_INLINE v8 operator()(const ByteTaps& t, const Load& load) const {
    vi sums[4] = {};
    if (EDGERUN_LIKELY(t.few >= 0)) {
      const uint8_t* at = t.origin;
      v16u low{}, high{};
      int64_t k = 0;
      for (; k + 2 <= t.few; k += 2) add_pair(load(at + t.offsets[k]) ^ flip, load(at + t.offsets[k + 1]) ^ flip, &low, &high);
      if (k < t.few) add_pair(load(at + t.offsets[k]) ^ flip, v8{}, &low, &high);
      add_words(low, high, sums);
    } else {
      for (int64_t i = t.rows.first; i < t.rows.last; ++i)
        for (int64_t j = t.columns.first; j < t.columns.last; j += kFewTaps) {
          const uint8_t* at = t.row(i) + (j - t.columns.first) * t.column_step;
          const int64_t n = least(kFewTaps, t.columns.last - j);
          v16u low{}, high{};
          for (int64_t k = 0; k < n; ++k) add_pair(load(at + k * t.column_step) ^ flip, v8{}, &low, &high);
          add_words(low, high, sums);
        }
    }
    for (int k = 0; k < 4; ++k) {
      sums[k] -= shift;
      if (shifts) sums[k] = shift_left_limited(sums[k], left);
      sums[k] = ties_to_even(rescale(sums[k], factor), sums[k], twice_m);
    }
    return out.bytes(sums);
  }
};

template <DType T> struct MeanPool {
  static Status resolve(const Request& r, Params* p) {
    EDGERUN_TRY(arity(r, 2, 2, 1));
    EDGERUN_TRY(sound(r.in[0], T));
    EDGERUN_TRY(sound(r.out[0]));
    EDGERUN_TRY(byte_input(r, "x_zero", T, &p->x));
    EDGERUN_TRY(byte_output(r, r.out[0].dtype, &p->y));
    EDGERUN_TRY(window_geometry(r, &p->window));
    p->include = r.attrs.i("count_include_pad") != 0;
    const int64_t taps = p->window.kh * p->window.kw;
    if (taps > INT32_MAX / 255) return Status::too_large;
    EDGERUN_TRY(sound_factors(r.in[1], taps));
    return r.in[1].dims[1] == taps ? Status::ok : Status::bad_shape;
  }
  static Status query(const Request& r, Need* need) {
    Params p;
    EDGERUN_TRY(resolve(r, &p));
    need_window(r, p.window, need);
    need->params = sizeof p;
    need->bytes /= 4;
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Params*>(params)); }

  static void run(const Run& r) {
    const Params& p = *static_cast<const Params*>(r.params);
    const Window& w = p.window;
    const int32_t *m = r.in[1].as<const int32_t>(), *left = m + w.kh * w.kw;
    const ByteStore out(p.y);
    const v8 flip = broadcast_byte(p.x.flip);
    byte_windows(w, r, [&](int64_t ih, int64_t iw, const ByteTaps& t) {
      int64_t count = t.count();
      const vi shift = broadcast_int(static_cast<int32_t>(count) * p.x.zero);
      if (p.include)
        count = taps_in(ih, w.kh, w.dh, -w.top, w.h + w.bottom).count() *
                taps_in(iw, w.kw, w.dw, -w.left, w.w + w.right).count();
      if (count == 0) return Mean{out, flip, shift, vi{}, vi{}, vi{}, false};
      return Mean{out, flip, shift, broadcast_int(factor_of(m[count - 1])), broadcast_int(2 * m[count - 1]), broadcast_int(left[count - 1]), left[count - 1] != 0};
    });
  }
};
}  // namespace
extern const Kernel qaverage_pool2d_i8_kernel{"qaverage_pool2d_i8", MeanPool<DType::i8>::query, MeanPool<DType::i8>::prepare,
                                              MeanPool<DType::i8>::run};
extern const Kernel qaverage_pool2d_u8_kernel{"qaverage_pool2d_u8", MeanPool<DType::u8>::query, MeanPool<DType::u8>::prepare,
                                              MeanPool<DType::u8>::run};
EDGERUN_ISA_END
