// How the integer micro-kernel multiplies. A step takes a few neighbouring elements of K, and B keeps these side by side for kLanes
// columns.
//
//   words       A and B hold int16 (byte minus zero point: exact for every zero point), everywhere
//   words_bytes the same, with B stored as int8 and widened on the way: where B is read once, its size is what counts
//   bytes       A and B hold bytes, with instructions for four products a lane (VNNI, Arm's dot product) or for eight (Arm's matrix
//               product: two rows times two columns). A is the byte as int8 (uint8 less 128), for VNNI as uint8 (int8 plus 128), so
//               the zero point's share, zero times the sum of the weights, is taken from the bias ahead of time
#pragma once
#include "simd.h"

EDGERUN_ISA_BEGIN

typedef int16_t word;

#if defined(EDGERUN_SIMD_AVX512) || defined(EDGERUN_SIMD_AVX2) || defined(EDGERUN_SIMD_SSE2)
inline constexpr int kGroup = 2;
typedef vi vw;  // kLanes groups

EDGERUN_SIMD vw load_words(const word* p) { return *reinterpret_cast<const vi_unaligned*>(p); }
EDGERUN_SIMD vw load_bytes_as_words(const int8_t* p) {
#if defined(EDGERUN_SIMD_AVX512)
  return reinterpret_cast<vw>(_mm512_maskz_cvtepi8_epi16(0xffffffffu, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(EDGERUN_SIMD_AVX2)
  return reinterpret_cast<vw>(_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return reinterpret_cast<vw>(_mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8));
#endif
}
EDGERUN_SIMD vi broadcast_group(const word* p) {
  int32_t both;
  __builtin_memcpy(&both, p, 4);
  return broadcast_int(both);
}
// acc + the products of every lane's group
EDGERUN_SIMD vi dot(vi acc, vi a, vw b) {
#if defined(EDGERUN_SIMD_AVX512) && defined(__AVX512VNNI__)
  return reinterpret_cast<vi>(_mm512_dpwssd_epi32(reinterpret_cast<__m512i>(acc), reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(EDGERUN_SIMD_AVX512)
  return acc + reinterpret_cast<vi>(_mm512_madd_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif defined(EDGERUN_SIMD_AVX2) && defined(__AVXVNNI__)
  return reinterpret_cast<vi>(_mm256_dpwssd_avx_epi32(reinterpret_cast<__m256i>(acc), reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(EDGERUN_SIMD_AVX2)
  return acc + reinterpret_cast<vi>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#else
  return acc + reinterpret_cast<vi>(_mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#endif
}
#else
inline constexpr int kGroup = 1;
typedef word vw __attribute__((vector_size(kLanes * 2)));
typedef word vw_unaligned __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));
typedef int8_t vb __attribute__((vector_size(kLanes)));
typedef int8_t vb_unaligned __attribute__((vector_size(kLanes), aligned(1), may_alias));

EDGERUN_SIMD vw load_words(const word* p) { return *reinterpret_cast<const vw_unaligned*>(p); }
EDGERUN_SIMD vw load_bytes_as_words(const int8_t* p) {
#if defined(EDGERUN_SIMD_NEON)
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return (vw)vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four))));
#else
  return __builtin_convertvector(*reinterpret_cast<const vb_unaligned*>(p), vw);
#endif
}
EDGERUN_SIMD vw broadcast_group(const word* p) { return *p + vw{}; }
EDGERUN_SIMD vi dot(vi acc, vw a, vw b) {
#if defined(EDGERUN_SIMD_NEON)
  return (vi)vmlal_s16((int32x4_t)acc, (int16x4_t)a, (int16x4_t)b);
#else
  return acc + __builtin_convertvector(a, vi) * __builtin_convertvector(b, vi);
#endif
}
#endif


// kAtOnce: how many groups of A one `load_groups` takes, of which `multiply_group` multiplies one; 1 where there is no such instruction.
// kPairs: a product is of two rows and two columns.
struct WordsForm {
  typedef word A;
  typedef word B;
  static constexpr int kStep = kGroup;
  static constexpr bool kPairs = false, kLoadsTwo = false;
  static EDGERUN_INLINE vw load(const B* p) { return load_words(p); }
  static EDGERUN_INLINE auto broadcast(const A* p) { return broadcast_group(p); }
  template <class X> static EDGERUN_INLINE vi multiply(vi acc, X a, vw b) { return dot(acc, a, b); }
#if defined(EDGERUN_SIMD_NEON) && defined(__aarch64__)
  static constexpr int kAtOnce = 4;
  static EDGERUN_INLINE vw load_groups(const A* p) { return load_words(p); }
  template <int kGroupOfA> static EDGERUN_INLINE vi multiply_group(vi acc, vw a, vw b) {
    return (vi)vmlal_lane_s16((int32x4_t)acc, (int16x4_t)b, (int16x4_t)a, kGroupOfA);
  }
#else
  static constexpr int kAtOnce = 1;
#endif
};
struct WordsBytesForm : WordsForm {
  typedef int8_t B;
  static EDGERUN_INLINE vw load(const B* p) { return load_bytes_as_words(p); }
#if defined(EDGERUN_SIMD_NEON)
  static constexpr bool kLoadsTwo = true;
  static EDGERUN_INLINE void load(const B* p, vw* first, vw* second) {
    const int16x8_t both = vmovl_s8(vld1_s8(p));
    *first = (vw)vget_low_s16(both), *second = (vw)vget_high_s16(both);
  }
#endif
};

#if defined(EDGERUN_SIMD_NEON) && defined(__ARM_FEATURE_DOTPROD)
inline constexpr bool kHasBytes = true, kSignedBytes = true;
struct DotForm {
  typedef int8_t A;
  typedef int8_t B;
  static constexpr int kStep = 4, kAtOnce = 4;
  static constexpr bool kPairs = false, kLoadsTwo = false;
  static EDGERUN_INLINE int8x16_t load(const B* p) { return vld1q_s8(p); }
  static EDGERUN_INLINE int8x16_t broadcast(const A* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
  static EDGERUN_INLINE vi multiply(vi acc, int8x16_t a, int8x16_t b) { return (vi)vdotq_s32((int32x4_t)acc, a, b); }
  static EDGERUN_INLINE int8x16_t load_groups(const A* p) { return vld1q_s8(p); }
  template <int kGroupOfA> static EDGERUN_INLINE vi multiply_group(vi acc, int8x16_t a, int8x16_t b) {
    return (vi)vdotq_laneq_s32((int32x4_t)acc, b, a, kGroupOfA);
  }
};
#elif defined(__AVX512VNNI__) || defined(__AVXVNNI__)
inline constexpr bool kHasBytes = true, kSignedBytes = false;
struct DotForm {  // the sum of four products is exact: nothing saturates on the way
  typedef int8_t A;
  typedef int8_t B;
  static constexpr int kStep = 4, kAtOnce = 1;
  static constexpr bool kPairs = false, kLoadsTwo = false;
  static EDGERUN_INLINE vi load(const B* p) { return *reinterpret_cast<const vi_unaligned*>(p); }
  static EDGERUN_INLINE vi broadcast(const A* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return broadcast_int(four);
  }
  static EDGERUN_INLINE vi multiply(vi acc, vi a, vi b) {
#if defined(EDGERUN_SIMD_AVX512)
    return reinterpret_cast<vi>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(acc), reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#else
    return reinterpret_cast<vi>(_mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(acc), reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#endif
  }
};
#else
inline constexpr bool kHasBytes = false, kSignedBytes = true;
typedef WordsForm DotForm;  // not used
#endif

#if defined(EDGERUN_SIMD_NEON) && defined(__ARM_FEATURE_MATMUL_INT8)
struct BytesForm {
  typedef int8_t A;
  typedef int8_t B;
  static constexpr int kStep = 8;
  static constexpr bool kPairs = true;
  static EDGERUN_INLINE int8x16_t load(const B* p) { return vld1q_s8(p); }  // two columns
  static EDGERUN_INLINE int8x16_t load_two(const A* p, const A* q) { return vcombine_s8(vld1_s8(p), vld1_s8(q)); }
  // acc: row 0 column 0, 0 1, 1 0, 1 1
  static EDGERUN_INLINE vi multiply(vi acc, int8x16_t a, int8x16_t b) { return (vi)vmmlaq_s32((int32x4_t)acc, a, b); }
  static EDGERUN_INLINE vi two_columns(const int32_t* p) {
    const int32x2_t both = vld1_s32(p);
    return (vi)vcombine_s32(both, both);
  }
  static EDGERUN_INLINE vi first_row(vi a, vi b) { return (vi)vtrn1q_s64((int64x2_t)a, (int64x2_t)b); }
  static EDGERUN_INLINE vi second_row(vi a, vi b) { return (vi)vtrn2q_s64((int64x2_t)a, (int64x2_t)b); }
};
#else
typedef DotForm BytesForm;
#endif

template <bool> struct PackedForm { typedef BytesForm Type; };
template <> struct PackedForm<false> { typedef WordsBytesForm Type; };
typedef PackedForm<kHasBytes>::Type PackedBytesForm;

enum class Form : uint8_t { words, words_bytes, bytes };  // the last two: PackedBytesForm, of which an instruction set has one
EDGERUN_SIMD int64_t step_of(Form f) { return f == Form::bytes ? BytesForm::kStep : kGroup; }
EDGERUN_SIMD int64_t b_size(Form f) { return f == Form::words ? 2 : 1; }
EDGERUN_SIMD int64_t a_size(Form f) { return f == Form::bytes ? 1 : 2; }

EDGERUN_ISA_END
