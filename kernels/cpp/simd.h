// One small vector header: the same kernel source runs on SSE2, AVX2, AVX-512, NEON and plain compilers.
//
// Types: vf (kLanes floats), vi (kLanes int32), vm (lane mask: all bits set or clear). All are compiler vector types, so
// bits are moved with as_int/as_float and integer vectors take the operators + - & | ^ ~ << >> directly (>> is arithmetic).
// Float arithmetic goes through the named functions: on armv7 the operators would fall back to scalar code.
//
// Rules every function keeps:
//   max(a, b) = a > b ? a : b and min(a, b) = a < b ? a : b  (NaN or equal: b; so max(zero(), x) is a ReLU that keeps NaN)
//   max_nan / min_nan: NaN when either operand is NaN
//   load_partial / store_partial touch exactly n lanes, 0 <= n <= kLanes; the other lanes load as 0
//   SSE2 has no fused multiply-add: fma there rounds twice
// Kernels use no templates or containers of std: a comdat function compiled with AVX flags could be linked into baseline code.
#pragma once
#include "isa.h"

#if defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define EDGERUN_SIMD_AVX512 1
#elif defined(__AVX2__) && defined(__FMA__)
#define EDGERUN_SIMD_AVX2 1
#elif defined(__SSE2__)
#define EDGERUN_SIMD_SSE2 1
#elif defined(__ARM_NEON)
#define EDGERUN_SIMD_NEON 1
#endif

// GCC's plain AVX-512 intrinsics read an undefined pass-through operand and warn; the maskz forms cost the same.
#define EDGERUN_SIMD static inline __attribute__((always_inline, unused))
#define EDGERUN_NOINLINE __attribute__((noinline))
#define EDGERUN_LIKELY(c) __builtin_expect(!!(c), 1)
#define EDGERUN_UNLIKELY(c) __builtin_expect(!!(c), 0)

EDGERUN_ISA_BEGIN

#if defined(EDGERUN_SIMD_AVX512)
inline constexpr int kLanes = 16, kVectorRegisters = 32;
#elif defined(EDGERUN_SIMD_AVX2)
inline constexpr int kLanes = 8, kVectorRegisters = 16;
#elif defined(__aarch64__)
inline constexpr int kLanes = 4, kVectorRegisters = 32;
#else
inline constexpr int kLanes = 4, kVectorRegisters = 16;
#endif
inline constexpr int kVectorBytes = kLanes * 4;

typedef float vf __attribute__((vector_size(kVectorBytes)));
typedef int32_t vi __attribute__((vector_size(kVectorBytes)));
typedef uint32_t vu __attribute__((vector_size(kVectorBytes)));
typedef vi vm;
typedef float vf_unaligned __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
typedef int32_t vi_unaligned __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));

// ---- bits, constants, memory
EDGERUN_SIMD vi as_int(vf a) { return (vi)a; }
EDGERUN_SIMD vf as_float(vi a) { return (vf)a; }
EDGERUN_SIMD vf zero() { return vf{}; }
EDGERUN_SIMD vf broadcast(float a) { return a - vf{}; }  // a - 0 keeps -0 and NaN
EDGERUN_SIMD vi broadcast_int(int32_t a) { return a + vi{}; }
EDGERUN_SIMD vf loadu(const float* p) { return *reinterpret_cast<const vf_unaligned*>(p); }
EDGERUN_SIMD vf load(const float* p) { return *reinterpret_cast<const vf*>(p); }  // p is a multiple of kVectorBytes
EDGERUN_SIMD void storeu(float* p, vf a) { *reinterpret_cast<vf_unaligned*>(p) = a; }
EDGERUN_SIMD void store(float* p, vf a) { *reinterpret_cast<vf*>(p) = a; }
EDGERUN_SIMD vi loadu_int(const int32_t* p) { return *reinterpret_cast<const vi_unaligned*>(p); }
EDGERUN_SIMD void storeu_int(int32_t* p, vi a) { *reinterpret_cast<vi_unaligned*>(p) = a; }
EDGERUN_SIMD vi lane_numbers() {
  vi r;
  for (int k = 0; k < kLanes; ++k) r[k] = k;
  return r;
}
// Lanes [0, n).
EDGERUN_SIMD vm first_lanes(int n) { return lane_numbers() < broadcast_int(n); }

EDGERUN_SIMD vf load_partial(const float* p, int n) {
#if defined(EDGERUN_SIMD_AVX512)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
#elif defined(EDGERUN_SIMD_AVX2)
  return _mm256_maskload_ps(p, reinterpret_cast<__m256i>(first_lanes(n)));
#else
  vf r{};
  for (int k = 0; k < kLanes; ++k)
    if (k < n) r[k] = p[k];
  return r;
#endif
}

EDGERUN_SIMD void store_partial(float* p, vf a, int n) {
#if defined(EDGERUN_SIMD_AVX512)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), a);
#elif defined(EDGERUN_SIMD_AVX2)  // vmaskmov stores are slow on AMD: store 4, 2, 1
  if (n >= kLanes) return storeu(p, a);
  __m128 part = _mm256_castps256_ps128(a);
  if (n & 4) {
    _mm_storeu_ps(p, part);
    part = _mm256_extractf128_ps(a, 1);
    p += 4;
  }
  if (n & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), part);
    part = _mm_movehl_ps(part, part);
    p += 2;
  }
  if (n & 1) _mm_store_ss(p, part);
#else
  if (n >= kLanes) return storeu(p, a);
  for (int k = 0; k < kLanes; ++k)
    if (k < n) p[k] = a[k];
#endif
}

// Hides a value from the optimiser, so that a check recomputed from it is not folded into the result it verifies.
EDGERUN_SIMD vf opaque(vf a) {
#if defined(__x86_64__) || defined(__i386__)
#if defined(EDGERUN_SIMD_AVX512)
  __asm__("" : "+v"(a));
#else
  __asm__("" : "+x"(a));
#endif
#elif defined(EDGERUN_SIMD_NEON)
  __asm__("" : "+w"(a));
#else
  __asm__("" : "+m"(a));
#endif
  return a;
}

// ---- float arithmetic
#if defined(EDGERUN_SIMD_NEON) && !defined(__aarch64__)
EDGERUN_SIMD vf add(vf a, vf b) { return (vf)vaddq_f32((float32x4_t)a, (float32x4_t)b); }
EDGERUN_SIMD vf sub(vf a, vf b) { return (vf)vsubq_f32((float32x4_t)a, (float32x4_t)b); }
EDGERUN_SIMD vf mul(vf a, vf b) { return (vf)vmulq_f32((float32x4_t)a, (float32x4_t)b); }
EDGERUN_SIMD vm less(vf a, vf b) { return (vm)vcltq_f32((float32x4_t)a, (float32x4_t)b); }
EDGERUN_SIMD vm less_equal(vf a, vf b) { return (vm)vcleq_f32((float32x4_t)a, (float32x4_t)b); }
EDGERUN_SIMD vm equal(vf a, vf b) { return (vm)vceqq_f32((float32x4_t)a, (float32x4_t)b); }
#else
EDGERUN_SIMD vf add(vf a, vf b) { return a + b; }
EDGERUN_SIMD vf sub(vf a, vf b) { return a - b; }
EDGERUN_SIMD vf mul(vf a, vf b) { return a * b; }
EDGERUN_SIMD vm less(vf a, vf b) { return a < b; }
EDGERUN_SIMD vm less_equal(vf a, vf b) { return a <= b; }
EDGERUN_SIMD vm equal(vf a, vf b) { return a == b; }
#endif
EDGERUN_SIMD vf div(vf a, vf b) { return a / b; }
EDGERUN_SIMD vm not_equal(vf a, vf b) { return ~equal(a, b); }  // true when unordered
EDGERUN_SIMD vm not_less_equal(vf a, vf b) { return ~less_equal(a, b); }  // a > b or unordered
EDGERUN_SIMD vm is_nan(vf a) { return ~equal(a, a); }
EDGERUN_SIMD vf neg(vf a) { return as_float(as_int(a) ^ broadcast_int(INT32_MIN)); }
EDGERUN_SIMD vf abs(vf a) { return as_float(as_int(a) & broadcast_int(INT32_MAX)); }
EDGERUN_SIMD vf copysign(vf magnitude, vf sign) {
  return as_float((as_int(magnitude) & broadcast_int(INT32_MAX)) | (as_int(sign) & broadcast_int(INT32_MIN)));
}
EDGERUN_SIMD vi shift_right_logical(vi a, int n) { return (vi)((vu)a >> n); }

// a * b + c
EDGERUN_SIMD vf fma(vf a, vf b, vf c) {
#if defined(EDGERUN_SIMD_AVX512)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(EDGERUN_SIMD_AVX2)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(EDGERUN_SIMD_NEON) && (defined(__aarch64__) || defined(__ARM_FEATURE_FMA))
  return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return add(mul(a, b), c);
#endif
}
// The same with one lane of a for all lanes, where that is one instruction.
#if defined(EDGERUN_SIMD_NEON) && defined(__aarch64__)
inline constexpr bool kHasFmaLane = true;
template <int kLane> EDGERUN_SIMD vf fma_lane(vf a, vf b, vf c) {
  return (vf)vfmaq_laneq_f32((float32x4_t)c, (float32x4_t)b, (float32x4_t)a, kLane);
}
#else
inline constexpr bool kHasFmaLane = false;
template <int kLane> EDGERUN_SIMD vf fma_lane(vf a, vf b, vf c) { return fma(broadcast(a[kLane]), b, c); }
#endif

EDGERUN_SIMD vf sqrt(vf a) {
#if defined(EDGERUN_SIMD_AVX512)
  return _mm512_maskz_sqrt_ps(0xffff, a);
#elif defined(EDGERUN_SIMD_AVX2)
  return _mm256_sqrt_ps(a);
#elif defined(EDGERUN_SIMD_SSE2)
  return _mm_sqrt_ps(a);
#elif defined(__aarch64__) && defined(EDGERUN_SIMD_NEON)
  return (vf)vsqrtq_f32((float32x4_t)a);
#else
  for (int k = 0; k < kLanes; ++k) a[k] = __builtin_sqrtf(a[k]);
  return a;
#endif
}

// mask ? a : b, lane by lane.
EDGERUN_SIMD vf select(vm mask, vf a, vf b) {
#if defined(EDGERUN_SIMD_AVX512)
  return _mm512_mask_blend_ps(_mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)), b, a);
#elif defined(EDGERUN_SIMD_AVX2)
  return _mm256_blendv_ps(b, a, reinterpret_cast<__m256>(mask));
#else
  return as_float((mask & as_int(a)) | (~mask & as_int(b)));
#endif
}
EDGERUN_SIMD vi select_int(vm mask, vi a, vi b) { return (mask & a) | (~mask & b); }

// The sign bit of x set ? 0 : x.
EDGERUN_SIMD vf zero_if_negative(vf x) {
#if defined(EDGERUN_SIMD_AVX512)
  return as_float(as_int(x) & ~(as_int(x) >> 31));  // a mask takes an instruction more
#elif defined(EDGERUN_SIMD_AVX2)
  return _mm256_blendv_ps(x, _mm256_setzero_ps(), x);
#else
  return as_float(as_int(x) & ~(as_int(x) >> 31));
#endif
}

EDGERUN_SIMD vf max(vf a, vf b) {
#if defined(EDGERUN_SIMD_AVX512)
  return _mm512_maskz_max_ps(0xffff, a, b);
#elif defined(EDGERUN_SIMD_AVX2)
  return _mm256_max_ps(a, b);
#elif defined(EDGERUN_SIMD_SSE2)
  return _mm_max_ps(a, b);
#else
  return select(less(b, a), a, b);
#endif
}
EDGERUN_SIMD vf min(vf a, vf b) {
#if defined(EDGERUN_SIMD_AVX512)
  return _mm512_maskz_min_ps(0xffff, a, b);
#elif defined(EDGERUN_SIMD_AVX2)
  return _mm256_min_ps(a, b);
#elif defined(EDGERUN_SIMD_SSE2)
  return _mm_min_ps(a, b);
#else
  return select(less(a, b), a, b);
#endif
}
EDGERUN_SIMD vf max_nan(vf a, vf b) {
#if defined(EDGERUN_SIMD_NEON)
  return (vf)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
#else
  return select(is_nan(a), a, max(a, b));
#endif
}
EDGERUN_SIMD vf min_nan(vf a, vf b) {
#if defined(EDGERUN_SIMD_NEON)
  return (vf)vminq_f32((float32x4_t)a, (float32x4_t)b);
#else
  return select(is_nan(a), a, min(a, b));
#endif
}

// ---- conversions; |a| < 2^31 (truncate), |a| < 2^22 (round_int), otherwise the lane's value is unspecified
EDGERUN_SIMD vf to_float(vi a) { return __builtin_convertvector(a, vf); }
EDGERUN_SIMD vi truncate_int(vf a) {
#if defined(EDGERUN_SIMD_AVX512)
  return reinterpret_cast<vi>(_mm512_maskz_cvttps_epi32(0xffff, a));
#elif defined(EDGERUN_SIMD_AVX2)
  return reinterpret_cast<vi>(_mm256_cvttps_epi32(a));
#elif defined(EDGERUN_SIMD_SSE2)
  return reinterpret_cast<vi>(_mm_cvttps_epi32(a));
#elif defined(EDGERUN_SIMD_NEON)
  return (vi)vcvtq_s32_f32((float32x4_t)a);
#else
  return __builtin_convertvector(a, vi);
#endif
}
// Nearest, ties to even: adding 1.5 * 2^23 leaves the integer in the low mantissa bits.
EDGERUN_SIMD vi round_int(vf a) {
  const vf magic = broadcast(12582912.f);
  return as_int(add(a, magic)) - as_int(magic);
}
EDGERUN_SIMD vf round_float(vf a) {  // the same as a float; |a| < 2^22
  const vf magic = broadcast(12582912.f);
  return sub(add(a, magic), magic);
}
// Any a; values of 2^23 and above, infinities and NaN are returned as they are. floor(-0) is -0.
EDGERUN_SIMD vf floor(vf a) {
#if defined(EDGERUN_SIMD_AVX512)
  return _mm512_maskz_roundscale_ps(0xffff, a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(EDGERUN_SIMD_AVX2)
  return _mm256_floor_ps(a);
#else
  const vm small = less(abs(a), broadcast(8388608.f));
  const vf whole = to_float(truncate_int(as_float(as_int(a) & small)));
  const vf down = sub(whole, as_float(less(a, whole) & as_int(broadcast(1.f))));
  return select(small, copysign(down, a), a);
#endif
}
EDGERUN_SIMD vf ceil(vf a) { return neg(floor(neg(a))); }

// 2^n for -126 <= n <= 127.
EDGERUN_SIMD vf exp2_int(vi n) { return as_float((n + 127) << 23); }

// ---- across lanes
EDGERUN_SIMD bool any(vm mask) {  // any bit of any lane
#if defined(EDGERUN_SIMD_AVX512)
  return _mm512_test_epi32_mask(reinterpret_cast<__m512i>(mask), reinterpret_cast<__m512i>(mask)) != 0;
#elif defined(EDGERUN_SIMD_AVX2)
  return !_mm256_testz_si256(reinterpret_cast<__m256i>(mask), reinterpret_cast<__m256i>(mask));
#else
  typedef long long wide __attribute__((vector_size(kVectorBytes)));
  const wide w = (wide)mask;
  return (w[0] | w[1]) != 0;
#endif
}
// Pairwise, in a fixed order.
EDGERUN_SIMD float reduce_add(vf a) {
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) a[k] = a[k] + a[k + half];
  return a[0];
}
EDGERUN_SIMD float reduce_max(vf a) {  // NaN if any lane is NaN
  float r = a[0];
  for (int k = 1; k < kLanes; ++k) r = a[k] > r || a[k] != a[k] ? a[k] : r;
  return r;
}
EDGERUN_SIMD float reduce_min(vf a) {
  float r = a[0];
  for (int k = 1; k < kLanes; ++k) r = a[k] < r || a[k] != a[k] ? a[k] : r;
  return r;
}

EDGERUN_ISA_END
