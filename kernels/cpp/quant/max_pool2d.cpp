// max_pool2d_{i8,u8}: the largest value of every window, x[N,H,W,C] → y[N,OH,OW,C]. Padding is the smallest value. In ceil_mode
// (the output is larger by the planner's choice) a window may reach beyond the pads.
#include "byte_window.h"

EDGERUN_ISA_BEGIN
namespace {
template <DType T> struct MaxPool {
  static constexpr bool kSigned = T == DType::i8;

  static Status resolve(const Request& r, Window* p) {
    EDGERUN_TRY(arity(r, 1, 1, 1));
    EDGERUN_TRY(sound(r.in[0], T));
    EDGERUN_TRY(sound(r.out[0], T));
    return window_geometry(r, p);
  }
  static Status query(const Request& r, Need* need) {
    Window p;
    EDGERUN_TRY(resolve(r, &p));
    need_window(r, p, need);
    need->work /= 4;
    need->bytes /= 4;
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Window*>(params)); }

  // SSE2 has no maximum of signed bytes: they are compared flipped.
#if defined(EDGERUN_SIMD_AVX512) || defined(EDGERUN_SIMD_AVX2)
  EDGERUN_INLINE static v8 start() { return broadcast_byte(kSigned ? 0x80 : 0); }
  EDGERUN_INLINE static v8 larger(v8 acc, v8 x) { return kSigned ? (v8)EDGERUN_X86(max_epi8, acc, x) : max_bytes(acc, x); }
  EDGERUN_INLINE static v8 finish(v8 acc) { return acc; }
#elif defined(EDGERUN_SIMD_NEON)
  EDGERUN_INLINE static v8 start() { return broadcast_byte(kSigned ? 0x80 : 0); }
  EDGERUN_INLINE static v8 larger(v8 acc, v8 x) {
    return kSigned ? (v8)vmaxq_s8((int8x16_t)acc, (int8x16_t)x) : max_bytes(acc, x);
  }
  EDGERUN_INLINE static v8 finish(v8 acc) { return acc; }
#else
  EDGERUN_INLINE static v8 start() { return v8{}; }
  EDGERUN_INLINE static v8 larger(v8 acc, v8 x) { return max_bytes(acc, x ^ broadcast_byte(kSigned ? 0x80 : 0)); }
  EDGERUN_INLINE static v8 finish(v8 acc) { return acc ^ broadcast_byte(kSigned ? 0x80 : 0); }
#endif

  struct Pixel {
    template <class Load> EDGERUN_INLINE v8 operator()(const ByteTaps& t, const Load& load) const {
      v8 acc = start();
      for (int64_t k = 0; k < t.few; ++k) acc = larger(acc, load(t.origin + t.offsets[k]));
      if (EDGERUN_LIKELY(t.few >= 0)) return finish(acc);
      for (int64_t i = t.rows.first; i < t.rows.last; ++i) {
        const uint8_t* at = t.row(i);
        for (int64_t j = t.columns.first; j < t.columns.last; ++j, at += t.column_step) acc = larger(acc, load(at));
      }
      return finish(acc);
    }
  };
  static void run(const Run& r) {
    byte_windows(*static_cast<const Window*>(r.params), r, [](int64_t, int64_t, const ByteTaps&) { return Pixel{}; });
  }
};
}  // namespace
extern const Kernel max_pool2d_i8_kernel{"max_pool2d_i8", MaxPool<DType::i8>::query, MaxPool<DType::i8>::prepare,
                                         MaxPool<DType::i8>::run};
extern const Kernel max_pool2d_u8_kernel{"max_pool2d_u8", MaxPool<DType::u8>::query, MaxPool<DType::u8>::prepare,
                                         MaxPool<DType::u8>::run};
EDGERUN_ISA_END
