// ABFT of a product Y = X W + bias (rows: output pixels p; columns: output channels n), after Huang and Abraham, IEEE ToC 1984:
//
//   sum over p, n of Y[p, n] = sum over k of (sum over p of X[p, k]) (sum over n of W[k, n]) + P sum over n of bias[n]
//
// taken for each lane j by itself, n running over the columns with n mod kLanes = j: `seen` comes from the accumulators while they
// are in registers (add_seen), `expected` from one pass over X and the column sums of W, which prepare forms from the model's own
// weights, not from the packed copy that run reads. So a fault in a packed weight, a multiply-accumulate, an accumulator, an
// address or a loop bound shows unless it is smaller than rounding.
//
// Bound, u = 2^-24, S = sum over p, n, k of |X||W| + P sum |bias| (of the lane where it is largest): each Y rounds at most K + 1
// times, the sum of a tile kTileTerms times (sums of tiles are doubles); sums over X round at most `depth` times, sums over W once
// (formed in double), the product of both K / kChains + kChains times. So |seen - expected| <= (K + K / kChains + depth +
// kTileTerms + kChains + 3) u S to first order; the bound adds a percent for the others, and for S itself, and an absolute term
// for underflow. It is proved, not fitted: no input of finite sums, however large, small or cancelling, raises a false alarm.
// Winograd's algorithm has its own factor (winograd.h).
#pragma once
#include "integrity/tap_sums.h"

EDGERUN_ISA_BEGIN

inline constexpr int kTileTerms = 16, kChains = 4;
inline constexpr double kRoundoff = 5.9604645e-8;

typedef double vd __attribute__((vector_size(2 * kVectorBytes)));
typedef double vd_unaligned __attribute__((vector_size(2 * kVectorBytes), aligned(8), may_alias));

// seen[lane] += t[lane].
EDGERUN_SIMD void add_seen(double* seen, vf t) {
#if defined(EDGERUN_SIMD_AVX2)
  _mm256_storeu_pd(seen, _mm256_add_pd(_mm256_loadu_pd(seen), _mm256_cvtps_pd(_mm256_castps256_ps128(t))));
  _mm256_storeu_pd(seen + 4, _mm256_add_pd(_mm256_loadu_pd(seen + 4), _mm256_cvtps_pd(_mm256_extractf128_ps(t, 1))));
#else
  *reinterpret_cast<vd_unaligned*>(seen) += __builtin_convertvector(t, vd);
#endif
}

// What a kernel's parameters hold about its audit; `on` is false where this form cannot check the product.
struct Audit {
  bool on, is_signed, plain;  // x may be negative; plain: rows of X are x's own pixels
  int64_t pixels, batch, channels, k, group, columns;  // P of one image; of x; K, groups and columns of one product
  TapAxis rows, across;
  size_t at;                  // of the checksums in the packed constants
};

EDGERUN_SIMD size_t audit_round(size_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }
// Column sums of W, lane by lane; then the size of W met by each channel; then sums of the bias and their size.
EDGERUN_SIMD size_t audit_packed(const Audit& a) {
  return !a.on ? 0 : audit_round(static_cast<size_t>(a.group * a.k * kLanes + a.channels + 2 * kLanes) * 4);
}
EDGERUN_SIMD size_t audit_scratch(const Audit& a) {
  if (!a.on) return 0;
  const int64_t taps = a.plain ? 1 : a.rows.kernel * a.across.kernel;
  return audit_round(static_cast<size_t>((taps + 1 + (a.plain ? 0 : a.across.runs)) * a.channels) * 4);
}
EDGERUN_SIMD int64_t audit_units(const Audit& a) {
  return !a.on ? 0 : a.plain ? ceil_div(a.batch * a.pixels, kPixelsPerAudit) : a.batch * a.rows.size;
}
EDGERUN_SIMD double audit_bound(const Audit& a) {
  const double sums = a.plain ? static_cast<double>(kPixelsPerAudit + audit_units(a))
                              : static_cast<double>(a.across.longest + a.batch * a.rows.size + a.across.runs + a.rows.runs);
  const double k = static_cast<double>(a.k);
  return 1.01 * kRoundoff * (k + k / kChains + sums + kTileTerms + kChains + 3);
}

// Asked for (attribute abft), and possible: the bias known ahead of time.
EDGERUN_SIMD bool audit_wanted(const Request& r) {
  return r.attrs.i("abft") != 0 && (!r.has(2) || r.in[2].data) && r.in[0].elements() > 0 && r.out[0].elements() > 0;
}

// W of product g: element (k, n) is w[g * stride_g + k * stride_k + n * stride_n] * alpha. Channel of x that k meets: group g's
// first one + k % (channels / group).
static inline void pack_audit(const Audit& a, const float* w, int64_t stride_g, int64_t stride_k, int64_t stride_n, float alpha,
                              const float* bias, float* out) {
  const int64_t each = a.channels / a.group;
  float* size = out + a.group * a.k * kLanes;
  __builtin_memset(size, 0, static_cast<size_t>(a.channels + 2 * kLanes) * 4);
  for (int64_t g = 0; g < a.group; ++g)
    for (int64_t k = 0; k < a.k; ++k) {
      double sum[kLanes] = {}, far[kLanes] = {}, most_far = 0;
      for (int64_t n = 0; n < a.columns; ++n) {
        const double v = static_cast<double>(alpha) * w[g * stride_g + k * stride_k + n * stride_n];
        sum[n % kLanes] += v;
        far[n % kLanes] += v < 0 ? -v : v;
      }
      for (int j = 0; j < kLanes; ++j) {
        *out++ = static_cast<float>(sum[j]);
        most_far = far[j] > most_far ? far[j] : most_far;
      }
      size[g * each + k % each] += static_cast<float>(most_far) + 1e-37f;  // so that sums that underflow stay within the bound
    }
  float *sums = size + a.channels, *sizes = sums + kLanes;
  for (int64_t n = 0; bias && n < a.group * a.columns; ++n) {
    sums[n % a.columns % kLanes] += bias[n];
    sizes[n % a.columns % kLanes] += bias[n] < 0 ? -bias[n] : bias[n];
  }
}

// Adds what units [begin, end) let expect to the sink's checksum.
static inline void audit_product(const Run& r, const Audit& a) {
  Checksum& c = *r.sink->checksum;
  const float* x = r.in[0].as<const float>();
  const int64_t taps = a.plain ? 1 : a.rows.kernel * a.across.kernel, each = a.channels / a.group;
  float *sum = static_cast<float*>(r.scratch), *size = sum + taps * a.channels;
  if (a.plain) plain_sums(x, a.batch * a.pixels, a.channels, a.is_signed, r.begin, r.end, sum, size);
  else tap_sums(x, a.channels, a.rows, a.across, a.is_signed, r.begin, r.end, sum, size, size + a.channels);

  const float* w = reinterpret_cast<const float*>(static_cast<const char*>(r.packed) + a.at);
  const float* far = w + a.group * a.k * kLanes;
  vf chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = zero();
  for (int64_t g = 0; g < a.group; ++g)
    for (int64_t tap = 0; tap < taps; ++tap) {
      const float* s = sum + tap * a.channels + g * each;
      int64_t k = 0;
      for (; k + kChains <= each; k += kChains, w += kChains * kLanes)
        for (int i = 0; i < kChains; ++i) chain[i] = fma(broadcast(s[k + i]), loadu(w + i * kLanes), chain[i]);
      for (; k < each; ++k, w += kLanes) chain[0] = fma(broadcast(s[k]), loadu(w), chain[0]);
    }
  for (int i = 0; i < kChains; ++i) add_seen(c.expected, chain[i]);
  vf magnitude = zero();
  int64_t k = 0;
  for (; k + kLanes <= a.channels; k += kLanes) magnitude = fma(loadu(size + k), loadu(far + k), magnitude);
  double total = 0;
  for (; k < a.channels; ++k) total += static_cast<double>(size[k]) * far[k];
  for (int j = 0; j < kLanes; ++j) total += magnitude[j];
  c.magnitude += total;
  if (r.begin != 0) return;
  const float *bias = far + a.channels, *sizes = bias + kLanes;
  double largest = 0;
  for (int j = 0; j < kLanes; ++j) {
    c.expected[j] += static_cast<double>(a.batch * a.pixels) * bias[j];
    largest = sizes[j] > largest ? sizes[j] : largest;
  }
  c.magnitude += static_cast<double>(a.batch * a.pixels) * largest * 1.01;
}

EDGERUN_ISA_END
