// Winograd F(4x4, 3x3) and F(2x2, 3x3) for dense 3x3 convolutions of stride 1 (Lavin and Gray 2015, arXiv 1509.09308): 36
// products per 16 outputs instead of 144, or 16 per 4 instead of 36. Points 0, +-1, (+-2,) infinity; weights are transformed
// in double precision once. The error stays below 1e-5 of the output's scale (tested); direct convolution is more exact.
//
// A block of tile rows runs through four passes that stay in L2: input rows are copied with their margins, tiles are
// transformed to V[plane][tile][ci], a GEMM for each plane gives M[plane][tile][co], and the inverse transform adds bias and
// residual, applies and checks the activation and stores.
#pragma once
#include "conv/conv_shape.h"
#include "matmul/gemm.h"

EDGERUN_ISA_BEGIN

struct Winograd {
  int32_t tile;               // edge of an output tile: 2 or 4; (tile + 2)^2 planes
  bool by_columns;            // units of work are panels of output channels, otherwise tile rows of all images
  int64_t tiles_high, tiles_wide;
  int64_t block_rows;         // tile rows of one block
  int64_t padded_width;       // pixels of a copied input row
  int64_t v_stride, m_stride; // floats between planes
  int64_t plane;              // floats of one plane of packed weights
};

// Roundings of one output as the bound of the checksum counts them (checksum_f32.h): a product of `channels` terms and 24 operations of
// the transforms, twice, as these amplify. Their worst case would be useless (a thousandfold, but never on all tiles alike); the bound
// is more than six times the most that a search found over images and weights made to amplify (single pixels under single taps were
// worst; a part of it is in tests/kernels/test_checksum.py).
EDGERUN_SIMD double winograd_roundings(const ConvShape& s) { return 2 * static_cast<double>(s.channels + 24); }

// Is it possible and expected to be faster? Fills w.
bool winograd_chosen(const ConvShape& s, Winograd* w);
size_t winograd_packed_bytes(const Winograd& w);
size_t winograd_scratch_bytes(const ConvShape& s, const Winograd& w);
void winograd_pack(const ConvShape& s, const Winograd& w, const float* weights, float* packed);

struct WinogradRun {
  const ConvShape* s;
  const Winograd* w;
  const float *x, *packed;  // x: all images
  Product product;          // bias, residual, c of the first image, activation, sink
  float* scratch;
};
// Tile rows [begin, end), counted over all images; panels [first_panel, last_panel).
void winograd_rows(const WinogradRun& r, int64_t begin, int64_t end, int64_t first_panel, int64_t last_panel);

EDGERUN_ISA_END
