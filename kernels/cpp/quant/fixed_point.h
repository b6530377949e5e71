// Rescaling of int32 by a real factor in fixed point; the definition is kernels/edgerun_kernels/jit/fixed_point.py:
//   rescale(t) = (2 a m + 2^31) >> 32,  a = clamp(t, +-(2^(31 - left) - 1)) << left,  0 <= m < 2^30, 0 <= left <= 30
// Rounds halves up. NEON's sqrdmulh and Cortex-M's smmulr are this operation.
#pragma once
#include "operand.h"
#include "simd.h"

EDGERUN_ISA_BEGIN

inline constexpr int32_t kMostLeft = 30;

EDGERUN_SIMD vi min_int(vi a, vi b) {
#if defined(EDGERUN_SIMD_AVX512)
  return reinterpret_cast<vi>(_mm512_maskz_min_epi32(0xffff, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(EDGERUN_SIMD_AVX2)
  return reinterpret_cast<vi>(_mm256_min_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return select_int(a < b, a, b);
#endif
}
EDGERUN_SIMD vi max_int(vi a, vi b) {
#if defined(EDGERUN_SIMD_AVX512)
  return reinterpret_cast<vi>(_mm512_maskz_max_epi32(0xffff, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(EDGERUN_SIMD_AVX2)
  return reinterpret_cast<vi>(_mm256_max_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return select_int(a > b, a, b);
#endif
}

// Lanes of shift_left_limited.
EDGERUN_SIMD vi shift_left_limited(vi t, vi left) {
  const vi most = (vi)((vu)broadcast_int(INT32_MAX) >> (vu)left);
  return (vi)((vu)max_int(min_int(t, most), -most) << (vu)left);
}

// How m is kept for the lanes of `rescale`: doubled where the product is taken in 64 bits.
#if defined(EDGERUN_SIMD_NEON)
EDGERUN_SIMD int32_t factor_of(int32_t m) { return m; }
#else
EDGERUN_SIMD int32_t factor_of(int32_t m) { return 2 * m; }
#endif

// Lanes of rescale with left = 0, in order; factor: factor_of(m) of every lane. (narrow.h has the form for the inner loops.)
EDGERUN_SIMD vi rescale(vi t, vi factor) {
#if defined(EDGERUN_SIMD_AVX512)
  const __m512i a = reinterpret_cast<__m512i>(t), f = reinterpret_cast<__m512i>(factor), half = _mm512_set1_epi64(int64_t{1} << 31);
  const __m512i a1 = _mm512_maskz_srli_epi64(0xff, a, 32), f1 = _mm512_maskz_srli_epi64(0xff, f, 32);
  const __m512i even = _mm512_add_epi64(_mm512_maskz_mul_epi32(0xff, a, f), half);
  const __m512i odd = _mm512_add_epi64(_mm512_maskz_mul_epi32(0xff, a1, f1), half);
  return reinterpret_cast<vi>(_mm512_mask_blend_epi32(0xaaaa, _mm512_maskz_srli_epi64(0xff, even, 32), odd));
#elif defined(EDGERUN_SIMD_AVX2)
  const __m256i a = reinterpret_cast<__m256i>(t), f = reinterpret_cast<__m256i>(factor), half = _mm256_set1_epi64x(int64_t{1} << 31);
  const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(a, f), half);
  const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(f, 32)), half);
  return reinterpret_cast<vi>(_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa));
#elif defined(EDGERUN_SIMD_NEON)
  return (vi)vqrdmulhq_s32((int32x4_t)t, (int32x4_t)factor);
#else
  vi y;
  for (int k = 0; k < kLanes; ++k) y[k] = static_cast<int32_t>((static_cast<int64_t>(t[k]) * factor[k] + (int64_t{1} << 31)) >> 32);
  return y;
#endif
}

// Makes of rescale's result q for t (already shifted) the one whose exact ties are even: where the low half of 2 t m is 2^31.
EDGERUN_SIMD vi ties_to_even(vi q, vi t, vi twice_m) {
  const vi tie = (vi)((vu)t * (vu)twice_m) == broadcast_int(INT32_MIN);
  return q - (tie & q & broadcast_int(1));
}

// An operand int32 [2, n] of (m, left) that is constant and in range; n: 1 or `columns`.
static inline Status sound_factors(const TensorView& v, int64_t columns) {
  EDGERUN_TRY(sound(v, DType::i32));
  if (v.rank != 2 || v.dims[0] != 2 || (v.dims[1] != columns && v.dims[1] != 1)) return Status::bad_shape;
  if (!v.data) return Status::not_constant;
  const int32_t* at = v.as<const int32_t>();
  const int64_t n = v.dims[1];
  for (int64_t k = 0; k < n; ++k)
    if (at[k] < 0 || at[k] >= 1 << 30 || at[n + k] < 0 || at[n + k] > kMostLeft) return Status::bad_attribute;
  return Status::ok;
}

// A zero point or bound of an int8 or uint8 tensor.
static inline Status byte_attribute(const Request& r, const char* name, DType dtype, int64_t fallback, int32_t* out) {
  const int64_t v = r.attrs.i(name, fallback);
  if (dtype == DType::i8 ? v < -128 || v > 127 : v < 0 || v > 255) return Status::bad_attribute;
  *out = static_cast<int32_t>(v);
  return Status::ok;
}

EDGERUN_ISA_END
