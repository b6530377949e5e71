// What the operand of a depthwise convolution lets expect, channel by channel, for its checksum (integrity/checksum_f32.h).
#pragma once
#include "integrity/checksum_f32.h"

EDGERUN_ISA_BEGIN
namespace {

// Accumulators one by one, summed as long as the bound allows (kTileTerms) before they become doubles.
struct TileSum {
  SeenSum sum;
  vf part = zero();
  int terms = 0;
  EDGERUN_INLINE void take(vf acc) {
    part = add(part, acc);
    if (++terms == kTileTerms) sum.add(part), part = zero(), terms = 0;
  }
  EDGERUN_INLINE void to(double* seen) {
    sum.add(part);
    sum.to(seen);
  }
};

// The weights of each cell's taps summed, channel by channel; |w| summed over all taps; sums of the bias and of its size by lane.
void pack_own_audit(const Request& r, const Audit& a, int64_t channels, float* out) {
  const int64_t cells = audit_cells(a);
  const float* w = r.in[1].as<const float>();
  float *size = out + cells * channels, *sums = size + channels;
  __builtin_memset(out, 0, static_cast<size_t>((cells + 1) * channels + 2 * kLanes) * 4);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t cell = 0; cell < cells; ++cell) {
      double sum = 0;
      each_tap(a.rows, a.across, static_cast<int32_t>(cell / a.across.runs), static_cast<int32_t>(cell % a.across.runs),
               [&](int64_t t) { sum += w[t * channels + c]; });
      out[cell * channels + c] = static_cast<float>(sum);
    }
    for (int64_t t = 0; t < a.k; ++t) size[c] += (w[t * channels + c] < 0 ? -w[t * channels + c] : w[t * channels + c]) + 1e-37f;
    if (!r.has(2)) continue;
    const float b = r.in[2].as<const float>()[c];
    sums[c % kLanes] += b, sums[kLanes + c % kLanes] += b < 0 ? -b : b;
  }
  spread_bias(a, sums);
}

// What cells let channels [c, c + kVectors * kLanes) expect, all cells of a run of rows in registers while its rows pass by. kAhead
// pixels at once, or additions would wait for each other.
template <bool kSigned, int kVectors, int kRuns, int kAhead>
EDGERUN_SIMD void expect(const Run& r, const Audit& a, int64_t c, const float* w, const float* far, SeenSum& expected, vf& magnitude,
                         vf& sizes) {
  const int64_t channels = a.channels, line = a.across.size * channels, step = a.across.step * channels;
  const float* x = r.in[0].as<const float>() + c;
  vf size[kVectors], total = zero();
  for (int v = 0; v < kVectors; ++v) size[v] = zero();
  for (int32_t i = 0; i < a.rows.runs; ++i) {
    vf sum[kRuns][kVectors];
    for (int j = 0; j < kRuns; ++j)
      for (int v = 0; v < kVectors; ++v) sum[j][v] = zero();
    each_span(a.rows, i, r.begin, r.end, [&](int64_t row, int64_t high) __attribute__((always_inline)) {
      for (int64_t y = 0; y < high; ++y)
#pragma GCC unroll 4
        for (int j = 0; j < kRuns; ++j) {
          const float* at = x + (row + y * a.rows.step) * line + a.across.run[j].begin * channels;
          int32_t k = a.across.run[j].count;
          if (kAhead > 1 && k >= kAhead) {
            vf part[kAhead][kVectors], far_part[kAhead][kVectors];
            for (int i = 0; i < kAhead; ++i)
              for (int v = 0; v < kVectors; ++v) part[i][v] = far_part[i][v] = zero();
            for (; k >= kAhead; k -= kAhead, at += kAhead * step)
#pragma GCC unroll 4
              for (int i = 0; i < kAhead; ++i)
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; ++v) {
                  const vf value = loadu(at + i * step + v * kLanes);
                  part[i][v] = add(part[i][v], value);
                  if (kSigned) far_part[i][v] = add(far_part[i][v], abs(value));
                }
            for (int i = 0; i < kAhead; ++i)
              for (int v = 0; v < kVectors; ++v) {
                sum[j][v] = add(sum[j][v], part[i][v]);
                if (kSigned) size[v] = add(size[v], far_part[i][v]);
              }
          }
          for (; k > 0; --k, at += step)
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; ++v) {
              const vf value = loadu(at + v * kLanes);
              sum[j][v] = add(sum[j][v], value);
              if (kSigned) size[v] = add(size[v], abs(value));
            }
        }
    });
    const float* of_taps = w + i * kRuns * channels + c;
#pragma GCC unroll 4
    for (int j = 0; j < kRuns; ++j)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        total = fma(sum[j][v], loadu(of_taps + j * channels + v * kLanes), total);
        if (!kSigned) size[v] = add(size[v], sum[j][v]);
      }
  }
  expected.add(total);
  for (int v = 0; v < kVectors; ++v) {
    magnitude = fma(size[v], loadu(far + c + v * kLanes), magnitude);
    sizes = add(sizes, size[v]);
  }
}

template <bool kSigned, int kRuns>
int64_t expect_channels(const Run& r, const Audit& a, const float* w, const float* far, SeenSum& expected, vf& magnitude, vf& sizes) {
  constexpr bool kFour = kVectorRegisters >= 32 || (!kSigned && kRuns <= 3);
  int64_t c = 0;
  if constexpr (kFour)
    for (; c + 4 * kLanes <= a.channels; c += 4 * kLanes) expect<kSigned, 4, kRuns, 1>(r, a, c, w, far, expected, magnitude, sizes);
  for (; c + 2 * kLanes <= a.channels; c += 2 * kLanes) expect<kSigned, 2, kRuns, 2>(r, a, c, w, far, expected, magnitude, sizes);
  for (; c + kLanes <= a.channels; c += kLanes) expect<kSigned, 1, kRuns, 4>(r, a, c, w, far, expected, magnitude, sizes);
  return c;
}

inline constexpr int kMostRunsHeld = 4;

// Returns the first channel that is left.
template <bool kSigned>
int64_t expect_all(const Run& r, const Audit& a, const float* w, const float* far, SeenSum& expected, vf& magnitude, vf& sizes) {
  switch (a.across.runs) {
    case 1: return expect_channels<kSigned, 1>(r, a, w, far, expected, magnitude, sizes);
    case 2: return expect_channels<kSigned, 2>(r, a, w, far, expected, magnitude, sizes);
    case 3: return expect_channels<kSigned, 3>(r, a, w, far, expected, magnitude, sizes);
    case kMostRunsHeld: return expect_channels<kSigned, kMostRunsHeld>(r, a, w, far, expected, magnitude, sizes);
    default: return 0;
  }
}

}  // namespace
EDGERUN_ISA_END
