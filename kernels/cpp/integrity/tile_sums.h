// Sums over the operand of a 3x3 convolution by Winograd's tiles, for its checksum (checksum_f32.h): outputs weigh the product of two
// numbers, by their row and their column in the tile, so what X adds up to under each tap is found row by row.
#pragma once
#include "operand.h"
#include "simd.h"

EDGERUN_ISA_BEGIN

inline constexpr int kTileTaps = 3, kTileStride = 4;  // taps of an axis; floats kept for each of its positions
// Of four places side by side, in tiles of 2 or 4, so that no plane cancels over a tile: the columns of the output transforms come to
// 1 3 -1 -2, and to 1 2 2 -1 11 -1. Powers of two, so that weighing does not round. Tiles of 2 change signs from one to the next: what
// their outer planes take of the operand, d[0] - d[2] and d[1] - d[3], would cancel with that of the tiles beside them.
inline constexpr float kTileWeight[5][4] = {{}, {}, {1, 2, -1, -2}, {}, {1, 1, 1, -1}};
inline constexpr double kMostTileWeight = 2;

EDGERUN_SIMD float tile_weight(int32_t tile, int64_t output, bool size) {
  const float w = kTileWeight[tile][output % 4];
  return size && w < 0 ? -w : w;
}

// For each position of the operand and each tap what the output weighs that it meets there; 0 where there is none.
static inline void tile_weights(int32_t tile, int64_t size, int64_t out, int64_t pad, float* to) {
  for (int64_t at = 0; at < size; ++at)
    for (int k = 0; k < kTileStride; ++k) {
      const int64_t output = at + pad - k;
      to[at * kTileStride + k] = k < kTileTaps && output >= 0 && output < out ? tile_weight(tile, output, false) : 0.f;
    }
}

// kVectors vectors of channels, all rows [begin, end): sums stay in registers.
template <int kVectors>
static EDGERUN_NOINLINE void add_tiled(const float* x, int64_t high, int64_t wide, int64_t channels, const float* weights, int64_t begin,
                                       int64_t end, float* sum, float* size) {
  vf total[kTileTaps * kTileTaps][kVectors], far[kVectors];
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    far[v] = zero();
#pragma GCC unroll 9
    for (int t = 0; t < kTileTaps * kTileTaps; ++t) total[t][v] = zero();
  }
  for (int64_t at_row = begin; at_row < end; ++at_row) {
    const float *at = x + at_row * wide * channels, *of_row = weights + at_row % high * kTileStride;
    const float* of_columns = weights + high * kTileStride;
    vf row[kTileTaps][kVectors];
#pragma GCC unroll 3
    for (int k = 0; k < kTileTaps; ++k)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) row[k][v] = zero();
    for (int64_t i = 0; i < wide; ++i, at += channels, of_columns += kTileStride)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const vf value = loadu(at + v * kLanes);
        far[v] = add(far[v], abs(value));
#pragma GCC unroll 3
        for (int k = 0; k < kTileTaps; ++k) row[k][v] = fma(value, broadcast(of_columns[k]), row[k][v]);
      }
#pragma GCC unroll 3
    for (int ky = 0; ky < kTileTaps; ++ky)
#pragma GCC unroll 3
      for (int k = 0; k < kTileTaps; ++k)
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) total[ky * kTileTaps + k][v] = fma(row[k][v], broadcast(of_row[ky]), total[ky * kTileTaps + k][v]);
  }
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    storeu(size + v * kLanes, far[v]);
#pragma GCC unroll 9
    for (int t = 0; t < kTileTaps * kTileTaps; ++t) storeu(sum + t * channels + v * kLanes, total[t][v]);
  }
}

// x [batch, high, wide, channels], units being rows of all images: sum[ky][kx][channels] and size[channels] are set. weights: of rows,
// then of columns.
static inline void tile_sums(const float* x, int64_t high, int64_t wide, int64_t channels, const float* weights, int64_t begin, int64_t end,
                             float* sum, float* size) {
  int64_t c = 0;
  if constexpr (kVectorRegisters >= 32)
    for (; c + 2 * kLanes <= channels; c += 2 * kLanes) add_tiled<2>(x + c, high, wide, channels, weights, begin, end, sum + c, size + c);
  for (; c + kLanes <= channels; c += kLanes) add_tiled<1>(x + c, high, wide, channels, weights, begin, end, sum + c, size + c);
  const float* of_columns = weights + high * kTileStride;
  for (; c < channels; ++c) {
    float total[kTileTaps * kTileTaps] = {}, far = 0;
    for (int64_t row = begin; row < end; ++row) {
      const float *from = x + row * wide * channels, *of_row = weights + row % high * kTileStride;
      float taps[kTileTaps] = {};
      for (int64_t at = 0; at < wide; ++at) {
        const float value = from[at * channels + c];
        far += value < 0 ? -value : value;
        for (int k = 0; k < kTileTaps; ++k) taps[k] += value * of_columns[at * kTileStride + k];
      }
      for (int t = 0; t < kTileTaps * kTileTaps; ++t) total[t] += taps[t % kTileTaps] * of_row[t / kTileTaps];
    }
    size[c] = far;
    for (int t = 0; t < kTileTaps * kTileTaps; ++t) sum[t * channels + c] = total[t];
  }
}

EDGERUN_ISA_END
