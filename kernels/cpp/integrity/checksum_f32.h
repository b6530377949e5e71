// ABFT of a product Y = X W + bias (rows: output pixels p; columns: output channels n), after Huang and Abraham, IEEE ToC 1984:
//
//   sum over p, n of Y[p, n] = sum over k of (sum over p of X[p, k]) (sum over n of W[k, n]) + P sum over n of bias[n]
//
// taken for each sum by itself: n runs over the columns of one band (2^shift neighbouring columns) with the same n mod kLanes.
// `seen` comes from the accumulators while they are in registers (add_seen), `expected` from one pass over X and the column sums
// of W, which prepare forms from the model's own weights, not from the packed copy that run reads. So a fault in a packed weight, a
// multiply-accumulate, an accumulator, an address or a loop bound shows, unless it is smaller than rounding. Sums over p are kept
// by cell (tap_sums.h), and W's by band and lane for each cell. Bands cost 1 / (P N) of the products each, and are as many as stay
// below a percent: a fault must stand out from fewer results.
//
// Bound, u = 2^-24, S = sum over p, n, k of |X||W| + P sum |bias| (of the sum where it is largest): m u S, where m counts the roundings
// on the longest way of a product into a sum: K + 1 of its Y, those of a tile (kTileTerms; sums of tiles are doubles), of the sum over X,
// of the sum over W (once a tap, formed in double) and of the product of both. That is the standard worst case (Higham, Accuracy and
// Stability, 3.1), so no data whatever raise a false alarm. A bound by chance, c sqrt(m) u S, would be two to five times finer and
// does not hold: equal pixels under equal weights round alike every time, and came to four fifths of it at K = 640. Winograd's
// algorithm rounds differently: see winograd_roundings. Tested in tests/kernels/test_checksum.py.
//
// Winograd's tiles: half of a tile's outputs take the planes of the point -1 with the other sign, so a plain sum would not notice a fault
// there. Outputs weigh kTileWeight of their place in the tile, for which no plane cancels; the sum over X is kept by tap (tile_sums.h).
#pragma once
#include "integrity/tap_sums.h"
#include "integrity/tile_sums.h"

EDGERUN_ISA_BEGIN

inline constexpr int kOneBand = 62;  // Audit::shift where all columns are in one
inline constexpr int kTileTerms = 16, kChains = 8, kMostBands = kMostSums / kLanes < 8 ? kMostSums / kLanes : 8;
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
  int32_t bands, shift;       // column n is in band n >> shift
  TapAxis rows, across;
  int32_t tile;               // edge of Winograd's tiles, or 0
  int64_t out_rows, out_across, pad_top, pad_left;  // of a tiled product
  size_t at;                  // of the checksums in the packed constants
};

EDGERUN_SIMD size_t audit_round(size_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }
EDGERUN_SIMD int64_t audit_cells(const Audit& a) { return a.tile ? kTileTaps * kTileTaps : a.plain ? 1 : a.rows.runs * a.across.runs; }
EDGERUN_SIMD int64_t audit_taps(const Audit& a) { return a.plain || a.tile ? 1 : a.rows.kernel * a.across.kernel; }
// What all outputs weigh, with or without their signs.
EDGERUN_SIMD double audit_pixels(const Audit& a, bool sizes) {
  if (!a.tile) return static_cast<double>(a.batch * a.pixels);
  double sum[2] = {};
  for (int64_t o = 0; o < a.out_rows; ++o) sum[0] += tile_weight(a.tile, o, sizes);
  for (int64_t o = 0; o < a.out_across; ++o) sum[1] += tile_weight(a.tile, o, sizes);
  return static_cast<double>(a.batch) * sum[0] * sum[1];
}
EDGERUN_SIMD int64_t audit_sums(const Audit& a) { return a.bands * kLanes; }
// Bands of whole panels (2 kLanes columns), a power of two of them, each to cost no more than a percent.
EDGERUN_SIMD void audit_bands(Audit* a) {
  a->bands = 1;
  const int64_t saved = a->tile == 4 ? 4 : a->tile == 2 ? 2 : 1;  // products that Winograd's tiles do without
  const int64_t affordable = a->batch * a->pixels * a->columns / (128 * kLanes * saved);
  for (a->shift = 0; int64_t{1} << a->shift < 2 * kLanes; ++a->shift) {
  }
  while (a->group == 1 && ceil_div(a->columns, int64_t{1} << a->shift) > most(1, least(kMostBands, affordable))) ++a->shift;
  while (a->group == 1 && a->bands < ceil_div(a->columns, int64_t{1} << a->shift)) a->bands *= 2;
  if (a->bands == 1) a->shift = kOneBand;
}
EDGERUN_SIMD bool audit_one_pixel(const Audit& a) { return a.plain && a.batch * a.pixels == 1; }  // x itself is the sum
// Column sums of W by cell, channel and lane; then the size of W met by each channel; then sums of the bias and their size (over all
// outputs); then the weights of tiled rows and columns.
EDGERUN_SIMD size_t audit_packed(const Audit& a) {
  const int64_t tiled = a.tile ? (a.rows.size + a.across.size) * kTileStride : 0;
  return !a.on ? 0 : audit_round(static_cast<size_t>(audit_cells(a) * a.channels * audit_sums(a) + a.channels + 2 * audit_sums(a) + tiled) * 4);
}
EDGERUN_SIMD size_t audit_scratch(const Audit& a) {
  if (!a.on) return 0;
  return audit_round(static_cast<size_t>((audit_cells(a) + 1) * a.channels + (a.plain || a.tile ? 0 : cell_room(a.channels, a.across))) * 4);
}
EDGERUN_SIMD int64_t audit_units(const Audit& a) {
  return !a.on ? 0 : a.plain ? ceil_div(a.batch * a.pixels, kPixelsPerAudit) : a.batch * a.rows.size;
}
// roundings: of one Y.
EDGERUN_SIMD double audit_bound(const Audit& a, double roundings) {
  const double over_x = a.tile ? static_cast<double>(a.across.size + a.batch * (a.rows.size + 1))
                        : a.plain ? static_cast<double>(kPixelsPerAudit + audit_units(a))
                                : static_cast<double>(a.across.longest + a.batch * (a.rows.longest + 1) + a.rows.runs * a.across.runs);
  const double over_k = static_cast<double>(audit_cells(a) * (a.channels * a.bands / kChains + 1) + kChains);
  return 1.01 * kRoundoff * (roundings + 1 + kTileTerms + over_x + static_cast<double>(audit_taps(a)) + over_k + 8);
}

// Asked for (attribute abft), and possible: the bias known ahead of time.
EDGERUN_SIMD bool audit_wanted(const Request& r) {
  return r.attrs.i("abft") != 0 && (!r.has(2) || r.in[2].data) && r.in[0].elements() > 0 && r.out[0].elements() > 0;
}

// Adds tap `tap` of channel c of x, whose weights sum to sum[], to every cell that it meets.
EDGERUN_SIMD void add_tap(const Audit& a, int64_t tap, int64_t c, const double* sum, float* out) {
  const int64_t sums = audit_sums(a);
  for (int64_t cell = 0; cell < audit_cells(a); ++cell) {
    bool meets = a.plain || (a.tile && cell == tap);
    if (!a.plain && !a.tile)
      each_tap(a.rows, a.across, static_cast<int32_t>(cell / a.across.runs), static_cast<int32_t>(cell % a.across.runs),
               [&](int64_t t) { meets |= t == tap; });
    for (int64_t j = 0; meets && j < sums; ++j) out[(cell * a.channels + c) * sums + j] += static_cast<float>(sum[j]);
  }
}

// Sums of the bias, then of its size, from those of one output to those of all.
static inline void spread_bias(const Audit& a, float* of_bias) {
  const double weight = audit_pixels(a, false), pixels = audit_pixels(a, true);
  const int64_t sums = audit_sums(a);
  for (int64_t j = 0; j < sums; ++j) {
    of_bias[j] = static_cast<float>(weight * of_bias[j]);
    of_bias[sums + j] = static_cast<float>(pixels * of_bias[sums + j]);
  }
}

// W of product g: element (k, n) is w[g * stride_g + k * stride_k + n * stride_n] * alpha; k = tap * (channels / group) + channel.
static inline void pack_audit(const Audit& a, const float* w, int64_t stride_g, int64_t stride_k, int64_t stride_n, float alpha,
                              const float* bias, float* out) {
  const int64_t each = a.channels / a.group, sums = audit_sums(a);
  float *size = out + audit_cells(a) * a.channels * sums, *of_bias = size + a.channels;
  __builtin_memset(out, 0, audit_packed(a));
  const auto sum_of = [&](int64_t n) { return (n >> a.shift) * kLanes + n % kLanes; };
  for (int64_t g = 0; g < a.group; ++g)
    for (int64_t k = 0; k < a.k; ++k) {
      double sum[kMostSums] = {}, far[kMostSums] = {}, most_far = 0;
      for (int64_t n = 0; n < a.columns; ++n) {
        const double v = static_cast<double>(alpha) * w[g * stride_g + k * stride_k + n * stride_n];
        sum[sum_of(n)] += v;
        far[sum_of(n)] += v < 0 ? -v : v;
      }
      for (int64_t j = 0; j < sums; ++j) most_far = far[j] > most_far ? far[j] : most_far;
      add_tap(a, k / each, g * each + k % each, sum, out);
      const double heavy = most_far * (a.tile ? kMostTileWeight * kMostTileWeight : 1);
      size[g * each + k % each] += static_cast<float>(heavy) + 1e-37f;  // so that sums that underflow stay within the bound
    }
  for (int64_t n = 0; bias && n < a.group * a.columns; ++n) {
    const int64_t j = sum_of(n % a.columns);
    of_bias[j] += bias[n];
    of_bias[sums + j] += bias[n] < 0 ? -bias[n] : bias[n];
  }
  spread_bias(a, of_bias);
  if (!a.tile) return;
  tile_weights(a.tile, a.rows.size, a.out_rows, a.pad_top, of_bias + 2 * sums);
  tile_weights(a.tile, a.across.size, a.out_across, a.pad_left, of_bias + 2 * sums + a.rows.size * kTileStride);
}

// Adds sum over k of |size[k]| far[k] to the checksum's magnitude, and the sum of |size[k]| to its size.
EDGERUN_SIMD void audit_magnitude(const float* size, const float* far, int64_t n, Checksum* c) {
  vf part[2] = {zero(), zero()}, plain[2] = {zero(), zero()};
  int64_t k = 0;
  for (; k + 2 * kLanes <= n; k += 2 * kLanes)
    for (int i = 0; i < 2; ++i) {
      const vf x = abs(loadu(size + k + i * kLanes));
      part[i] = fma(x, loadu(far + k + i * kLanes), part[i]);
      plain[i] = add(plain[i], x);
    }
  for (; k < n; ++k) {
    const double x = size[k] < 0 ? -size[k] : size[k];
    c->magnitude += x * far[k];
    c->size += x;
  }
  c->magnitude += reduce_add(add(part[0], part[1]));
  c->size += reduce_add(add(plain[0], plain[1]));
}

// The bias' share, once a step.
EDGERUN_SIMD void audit_bias(const Audit& a, const float* of_bias, Checksum* c) {
  const int64_t sums = audit_sums(a);
  double largest = 0;
  for (int64_t j = 0; j < sums; ++j) {
    c->expected[j] += of_bias[j];
    largest = of_bias[sums + j] > largest ? of_bias[sums + j] : largest;
  }
  c->magnitude += 1.01 * largest;
}

// expected += sum over k < terms of s[k] w[k][band]: kBands vectors a term, and enough terms at once.
template <int kBands>
EDGERUN_SIMD void expect_bands(const float* s, const float* w, int64_t terms, double* expected) {
  constexpr int kAhead = kBands < kChains ? kChains / kBands : 1;
  vf chain[kAhead][kBands];
  for (int i = 0; i < kAhead; ++i)
    for (int v = 0; v < kBands; ++v) chain[i][v] = zero();
  int64_t k = 0;
  for (; k + kAhead <= terms; k += kAhead)
#pragma GCC unroll 8
    for (int i = 0; i < kAhead; ++i) {
      const vf x = broadcast(s[k + i]);
#pragma GCC unroll 8
      for (int v = 0; v < kBands; ++v) chain[i][v] = fma(x, loadu(w + ((k + i) * kBands + v) * kLanes), chain[i][v]);
    }
  for (; k < terms; ++k)
    for (int v = 0; v < kBands; ++v) chain[0][v] = fma(broadcast(s[k]), loadu(w + (k * kBands + v) * kLanes), chain[0][v]);
  for (int v = 0; v < kBands; ++v) {
    for (int i = 1; i < kAhead; ++i) chain[0][v] = add(chain[0][v], chain[i][v]);
    add_seen(expected + v * kLanes, chain[0][v]);
  }
}

// Adds what units [begin, end) let expect to the sink's checksum.
static inline void audit_product(const Run& r, const Audit& a) {
  Checksum& c = *r.sink->checksum;
  const float *x = r.in[0].as<const float>(), *s = x, *size = x;
  const int64_t terms = audit_cells(a) * a.channels;
  if (!audit_one_pixel(a)) {
    float *sum = static_cast<float*>(r.scratch), *sizes = sum + terms;
    if (a.tile) {
      const int64_t after = terms * audit_sums(a) + a.channels + 2 * audit_sums(a);
      const float* weights = reinterpret_cast<const float*>(static_cast<const char*>(r.packed) + a.at) + after;
      tile_sums(x, a.rows.size, a.across.size, a.channels, weights, r.begin, r.end, sum, sizes);
    } else if (a.plain) plain_sums(x, a.batch * a.pixels, a.channels, a.is_signed, r.begin, r.end, sum, sizes);
    else cell_sums(x, a.channels, a.rows, a.across, a.is_signed, r.begin, r.end, sum, sizes, sizes + a.channels);
    s = sum, size = sizes;
  }
  const float* w = reinterpret_cast<const float*>(static_cast<const char*>(r.packed) + a.at);
  const float* far = w + terms * audit_sums(a);
  switch (a.bands) {
    case 1: expect_bands<1>(s, w, terms, c.expected); break;
    case 2: expect_bands<2>(s, w, terms, c.expected); break;
    case 4: expect_bands<4>(s, w, terms, c.expected); break;
    default: expect_bands<8>(s, w, terms, c.expected); break;
  }
  audit_magnitude(size, far, a.channels, &c);
  if (r.begin == 0) audit_bias(a, far + a.channels, &c);
}

EDGERUN_ISA_END
