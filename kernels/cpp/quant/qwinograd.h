// Winograd F(4x4, 3x3) and F(2x2, 3x3) in integers, exact: the same sums as direct convolution with 4 and 2.25 times fewer products.
//
// The rows of G are scaled to integers, each by its own factor; the output transform makes up for it and gives 576 (or 4) times the
// sum, modulo 2^32. As |576 sum| < 2^31 for every input (checked against the weights), dividing by 64 and multiplying with the
// inverse of 9 modulo 2^32 gives the sum. Transformed inputs are at most 100 * 255 and weights 49 * 128: int16.
#pragma once
#include "quant/widen.h"

EDGERUN_ISA_BEGIN

struct IntWinograd {
  int32_t tile;                 // edge of an output tile: 2 or 4; 0: direct convolution is used
  int64_t tiles_high, tiles_wide;
  int64_t block_rows;           // tile rows of one block
  int64_t row_words;            // of a widened input row
  int64_t v_plane, m_plane;     // elements between planes
  int64_t b_plane;              // words of one plane of packed weights
  Epilogue epilogue;
  int32_t largest;              // |sum| without bias of any output, whatever the bytes
};

// Fills w; tile is 0 where it is not possible or not expected to be faster.
void int_winograd_choose(const ConvShape& s, const TensorView& weights, const Epilogue& e, IntWinograd* w);
size_t int_winograd_packed_bytes(const IntWinograd& w);
size_t int_winograd_table_bytes(const IntWinograd& w);  // of these, what is no weight
size_t int_winograd_scratch_bytes(const IntWinograd& w);
void int_winograd_pack(const ConvShape& s, const IntWinograd& w, const TensorView& weights, const TensorView* bias,
                       const TensorView* factors, void* packed);
// Tile rows [begin, end), counted over all images.
void int_winograd_run(const Run& r, const ConvShape& s, const QuantParams& q, const IntWinograd& w, const IntAudit& a, int64_t begin,
                      int64_t end);

EDGERUN_ISA_END
