// ABFT of an int8 product, exact: with y[p, n] = sum over taps and channels of (x - zero) w + bias before it is rescaled,
//
//   sum over p, n of y = sum over regions and channels of (sum of x - zero there) (sum of the weights that meet it) + P sum of bias
//
// modulo 2^32, for each lane j by itself, n running over the columns that leave remainder j. The left side comes from the accumulators
// while they are in registers (IntProduct::seen), the right one from one pass over the bytes of x and sums of weights that prepare
// forms from the model's own, not from the packed copy. They are equal or something is wrong: no bound, no false alarm, and every
// change of a single accumulator shows.
//
// A region is where all pixels of x meet the same taps: rows and columns fall into stretches (with stride 1: the inner ones all, those
// at the edges fewer), and a region is a stretch of rows times one of columns. So nothing is summed up tap by tap while it runs.
//
// Winograd's tiles: the sum of a tile's outputs would not notice a fault in the planes of the point -1, which enters half of
// them with the other sign. Outputs weigh kTileWeights of their place in the tile therefore, odd numbers for which no plane cancels; a
// stretch then has one place in the tile, too. Tiles of 2 change signs from one to the next: what their outer planes take of the operand,
// d[0] - d[2] and d[1] - d[3], would cancel with that of the tiles beside them.
#pragma once
#include "operand.h"
#include "simd.h"

EDGERUN_ISA_BEGIN

inline constexpr int32_t kTileWeights[5][4] = {{}, {1}, {1, 3, -1, -3}, {}, {1, 1, 1, -1}};  // of tiles of 1, 2 and 4

// One axis of a convolution; output position o weighs kTileWeights[tile][o % period()].
struct TapLine {
  int64_t size, out, kernel, stride, dilation, pad;
  int32_t tile;

  EDGERUN_INLINE int64_t period() const { return tile == 1 ? 1 : 4; }
  EDGERUN_INLINE int64_t step() const { return stride * period(); }
  EDGERUN_INLINE int32_t weight(int64_t output) const { return kTileWeights[tile][output % period()]; }
};

// Positions begin, begin + step, ... that meet the same taps with the same weights. Of columns, all but the first and last few lie in the
// window, whose sums are kept by their place in a step; those before and after it have sums of their own.
struct Stretch {
  int32_t begin, count, before, after;
  int32_t at;  // where the sums are, counted in channels
};

struct IntAudit {
  bool on;
  bool plain;       // rows of x are pixels that all meet the one tap
  bool words;       // plain, a unit at most, and the sums of the weights fit in 16 bits: so do those of bytes, and products go by pairs
  bool over_groups; // lanes are counted over the columns of all groups, not of each
  bool by_channel;  // depthwise: channel c meets column c only, so its lane is known
  bool by_line;     // by_channel, and weights are kept for every position of a row: a region is a stretch of rows
  bool is_signed;
  int32_t zero;     // of x
  int64_t pixels, batch, channels, group, columns;  // pixels: of one image's output; columns: of one group
  TapLine rows, across;
  int32_t row_stretches, column_stretches;
  int64_t window, window_count;  // columns of x that one pass sums, steps of `across` side by side; 0: stretch by stretch
  int64_t sums;     // places for sums, counted in channels
  size_t at;        // of the stretches, constants and weights in the packed constants
};

// Where the model's weights are: that of column n of all groups, tap t and channel c of its group is
// w[n per_column + t per_tap + c per_channel].
struct IntWeights {
  const TensorView* w;
  int64_t per_column, per_tap, per_channel;
};

// Whether the sums of each lane's weights are words, as those of a unit's bytes are; of `columns` columns of bytes or of words below 256.
EDGERUN_SIMD bool word_sums(const TensorView& w, int64_t columns) {
  return ceil_div(columns, kLanes) * (w.dtype == DType::i8 ? 128 : 255) <= INT16_MAX;
}

// Asked for (attribute abft), and possible: bias and weights known ahead of time.
EDGERUN_SIMD bool int_audit_wanted(const Request& r) {
  return r.attrs.i("abft") != 0 && r.in[1].data && (!r.has(2) || r.in[2].data) && r.in[0].elements() > 0 && r.out[0].elements() > 0;
}

// Completes what has been filled in down to the axes; clears `on` where this form does not serve. packed: bytes before the audit's.
void int_audit_resolve(size_t packed, IntAudit* a);
size_t int_audit_packed(const IntAudit& a);
size_t int_audit_scratch(const IntAudit& a);
int64_t int_audit_units(const IntAudit& a);
size_t int_audit_table(const IntAudit& a);  // bytes of the audit's first constants that say where to read
void int_audit_pack(const IntAudit& a, const IntWeights& w, const TensorView* bias, void* packed);
// Subtracts what units [begin, end) let expect from the sink's difference.
void int_audit(const Run& r, const IntAudit& a);

// Adds the audit's share to a Need that is complete otherwise.
EDGERUN_SIMD void need_audit(const IntAudit& a, Need* need) {
  if (!a.on) return;
  need->packed = a.at + int_audit_packed(a);
  if (need->scratch < int_audit_scratch(a)) need->scratch = int_audit_scratch(a);
  need->audit_units = int_audit_units(a);
  need->audit_table_at = a.at, need->audit_table = int_audit_table(a);
}

EDGERUN_ISA_END
