// ABFT of a product Y = X W + bias (rows: output pixels p; columns: output channels n), after Huang and Abraham, IEEE ToC 1984:
//
//   sum over p, n of Y[p, n] = sum over k of (sum over p of X[p, k]) (sum over n of W[k, n]) + P sum over n of bias[n]
//
// taken for each lane j by itself, n running over the columns with n mod kLanes = j: `seen` comes from the accumulators while they
// are in registers (add_seen), `expected` from one pass over X and the column sums of W, which prepare forms from the model's own
// weights, not from the packed copy that run reads. So a fault in a packed weight, a multiply-accumulate, an accumulator, an
// address or a loop bound shows unless it is smaller than rounding.
//
// Sums over p are kept by cell (tap_sums.h), and W's by lane for each cell.
//
// Bound, u = 2^-24, S = sum over p, n, k of |X||W| + P sum |bias| (of the lane where it is largest): each Y rounds at most K + 1
// times, the sum of a tile kTileTerms times (sums of tiles are doubles); sums over X round at most `depth` times, sums over W once
// a tap (formed in double), the product of both terms / kChains + kChains times. So |seen - expected| <= (K + terms / kChains +
// depth + taps + kTileTerms + kChains + 3) u S to first order; the bound adds a percent for the others, and for S itself, and an
// absolute term for underflow. It is proved, not fitted: no input of finite sums, however large, small or cancelling, raises a false alarm.
// Winograd's algorithm has its own factor (winograd.h).
#pragma once
#include "integrity/tap_sums.h"

EDGERUN_ISA_BEGIN

inline constexpr int kTileTerms = 16, kChains = 8;
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

// The same over many tiles, in registers: through memory one addition would wait for the store of the one before.
struct SeenSum {
#if defined(EDGERUN_SIMD_AVX2)
  __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
  EDGERUN_INLINE void add(vf t) {
    low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(t)));
    high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(t, 1)));
  }
  EDGERUN_INLINE void to(double* seen) const {
    _mm256_storeu_pd(seen, _mm256_add_pd(_mm256_loadu_pd(seen), low));
    _mm256_storeu_pd(seen + 4, _mm256_add_pd(_mm256_loadu_pd(seen + 4), high));
  }
#else
  vd sum{};
  EDGERUN_INLINE void add(vf t) { sum += __builtin_convertvector(t, vd); }
  EDGERUN_INLINE void to(double* seen) const { *reinterpret_cast<vd_unaligned*>(seen) += sum; }
#endif
};

// What a kernel's parameters hold about its audit; `on` is false where this form cannot check the product.
struct Audit {
  bool on, is_signed, plain;  // x may be negative; plain: rows of X are x's own pixels
  int64_t pixels, batch, channels, k, group, columns;  // P of one image; of x; K, groups and columns of one product
  TapAxis rows, across;
  size_t at;                  // of the checksums in the packed constants
};

EDGERUN_SIMD size_t audit_round(size_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }
EDGERUN_SIMD int64_t audit_cells(const Audit& a) { return a.plain ? 1 : a.rows.runs * a.across.runs; }
EDGERUN_SIMD int64_t audit_taps(const Audit& a) { return a.plain ? 1 : a.rows.kernel * a.across.kernel; }
EDGERUN_SIMD bool audit_one_pixel(const Audit& a) { return a.plain && a.batch * a.pixels == 1; }  // x itself is the sum
// Column sums of W by cell, channel and lane; then the size of W met by each channel; then sums of the bias and their size.
EDGERUN_SIMD size_t audit_packed(const Audit& a) {
  return !a.on ? 0 : audit_round(static_cast<size_t>(audit_cells(a) * a.channels * kLanes + a.channels + 2 * kLanes) * 4);
}
EDGERUN_SIMD size_t audit_scratch(const Audit& a) {
  if (!a.on) return 0;
  return audit_round(static_cast<size_t>((audit_cells(a) + 1) * a.channels + (a.plain ? 0 : cell_room(a.channels, a.across))) * 4);
}
EDGERUN_SIMD int64_t audit_units(const Audit& a) {
  return !a.on ? 0 : a.plain ? ceil_div(a.batch * a.pixels, kPixelsPerAudit) : a.batch * a.rows.size;
}
EDGERUN_SIMD double audit_bound(const Audit& a) {
  const double sums = a.plain ? static_cast<double>(kPixelsPerAudit + audit_units(a))
                              : static_cast<double>(a.across.longest + a.batch * a.rows.longest + a.rows.runs * a.across.runs);
  const double terms = static_cast<double>(audit_cells(a) * a.channels / kChains);
  return 1.01 * kRoundoff * (static_cast<double>(a.k) + terms + sums + static_cast<double>(audit_taps(a)) + kTileTerms + kChains + 3);
}

// Asked for (attribute abft), and possible: the bias known ahead of time.
EDGERUN_SIMD bool audit_wanted(const Request& r) {
  return r.attrs.i("abft") != 0 && (!r.has(2) || r.in[2].data) && r.in[0].elements() > 0 && r.out[0].elements() > 0;
}

// Adds tap `tap` of channel c of x, whose weights sum to sum[lane] by lane, to every cell that it meets.
EDGERUN_SIMD void add_tap(const Audit& a, int64_t tap, int64_t c, const double* sum, float* out) {
  for (int64_t cell = 0; cell < audit_cells(a); ++cell) {
    bool meets = a.plain;
    if (!a.plain)
      each_tap(a.rows, a.across, static_cast<int32_t>(cell / a.across.runs), static_cast<int32_t>(cell % a.across.runs),
               [&](int64_t t) { meets |= t == tap; });
    for (int j = 0; meets && j < kLanes; ++j) out[(cell * a.channels + c) * kLanes + j] += static_cast<float>(sum[j]);
  }
}

// W of product g: element (k, n) is w[g * stride_g + k * stride_k + n * stride_n] * alpha; k = tap * (channels / group) + channel.
static inline void pack_audit(const Audit& a, const float* w, int64_t stride_g, int64_t stride_k, int64_t stride_n, float alpha,
                              const float* bias, float* out) {
  const int64_t each = a.channels / a.group;
  float *size = out + audit_cells(a) * a.channels * kLanes, *sums = size + a.channels, *sizes = sums + kLanes;
  __builtin_memset(out, 0, audit_packed(a));
  for (int64_t g = 0; g < a.group; ++g)
    for (int64_t k = 0; k < a.k; ++k) {
      double sum[kLanes] = {}, far[kLanes] = {}, most_far = 0;
      for (int64_t n = 0; n < a.columns; ++n) {
        const double v = static_cast<double>(alpha) * w[g * stride_g + k * stride_k + n * stride_n];
        sum[n % kLanes] += v;
        far[n % kLanes] += v < 0 ? -v : v;
      }
      for (int j = 0; j < kLanes; ++j) most_far = far[j] > most_far ? far[j] : most_far;
      add_tap(a, k / each, g * each + k % each, sum, out);
      size[g * each + k % each] += static_cast<float>(most_far) + 1e-37f;  // so that sums that underflow stay within the bound
    }
  for (int64_t n = 0; bias && n < a.group * a.columns; ++n) {
    sums[n % a.columns % kLanes] += bias[n];
    sizes[n % a.columns % kLanes] += bias[n] < 0 ? -bias[n] : bias[n];
  }
}

// sum over k of |size[k]| far[k].
EDGERUN_SIMD double audit_magnitude(const float* size, const float* far, int64_t n) {
  vf part[2] = {zero(), zero()};
  int64_t k = 0;
  for (; k + 2 * kLanes <= n; k += 2 * kLanes)
    for (int i = 0; i < 2; ++i) part[i] = fma(abs(loadu(size + k + i * kLanes)), loadu(far + k + i * kLanes), part[i]);
  double total = 0;
  for (; k < n; ++k) total += static_cast<double>(size[k] < 0 ? -size[k] : size[k]) * far[k];
  return total + reduce_add(add(part[0], part[1]));
}

// The bias' share, once a step.
EDGERUN_SIMD void audit_bias(const Audit& a, const float* sums, Checksum* c) {
  const double pixels = static_cast<double>(a.batch * a.pixels);
  double largest = 0;
  for (int j = 0; j < kLanes; ++j) {
    c->expected[j] += pixels * sums[j];
    largest = sums[kLanes + j] > largest ? sums[kLanes + j] : largest;
  }
  c->magnitude += 1.01 * pixels * largest;
}

// Adds what units [begin, end) let expect to the sink's checksum.
static inline void audit_product(const Run& r, const Audit& a) {
  Checksum& c = *r.sink->checksum;
  const float *x = r.in[0].as<const float>(), *s = x, *size = x;
  const int64_t terms = audit_cells(a) * a.channels;
  if (!audit_one_pixel(a)) {
    float *sum = static_cast<float*>(r.scratch), *sizes = sum + terms;
    if (a.plain) plain_sums(x, a.batch * a.pixels, a.channels, a.is_signed, r.begin, r.end, sum, sizes);
    else cell_sums(x, a.channels, a.rows, a.across, a.is_signed, r.begin, r.end, sum, sizes, sizes + a.channels);
    s = sum, size = sizes;
  }
  const float* w = reinterpret_cast<const float*>(static_cast<const char*>(r.packed) + a.at);
  const float* far = w + terms * kLanes;
  vf chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = zero();
  int64_t k = 0;
  for (; k + kChains <= terms; k += kChains)
#pragma GCC unroll 8
    for (int i = 0; i < kChains; ++i) chain[i] = fma(broadcast(s[k + i]), loadu(w + (k + i) * kLanes), chain[i]);
  for (; k < terms; ++k) chain[0] = fma(broadcast(s[k]), loadu(w + k * kLanes), chain[0]);
  for (int i = 1; i < kChains; i *= 2)
    for (int j = 0; j + i < kChains; j += 2 * i) chain[j] = add(chain[j], chain[j + i]);
  add_seen(c.expected, chain[0]);
  c.magnitude += audit_magnitude(size, far, a.channels);
  if (r.begin == 0) audit_bias(a, far + a.channels, &c);
}

EDGERUN_ISA_END
