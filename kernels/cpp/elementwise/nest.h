// Broadcasting: up to three operands against one contiguous output, as a compact loop nest.
// Dimensions of size 1 vanish and neighbours that every operand walks contiguously are merged; what is left has an
// innermost dimension in which each operand is either contiguous or one scalar. A small operand that repeats over the
// next dimension (per-channel values against few channels) is repeated in scratch, so that rows are never only a few
// elements long.
#pragma once
#include "operand.h"

namespace edgerun::EDGERUN_ISA {

inline constexpr int64_t kBlock = 4096;  // elements of a unit of work
inline constexpr int64_t kRepeat = 512;  // elements a repeated operand is grown to, about

struct Nest {
  int64_t dims[kMaxRank], stride[3][kMaxRank];
  int64_t block, blocks, units;
  int64_t period;   // > 0: operands with repeats[k] have this period, which `row` is a multiple of
  int64_t row;      // elements handed on at once, at most
  size_t bytes[3];  // element sizes
  bool repeats[3];
  int32_t rank, operands;
};

// The output has exactly the broadcast shape of all operands.
Status broadcast_shape(const Request& r);
void plan_nest(const Request& r, Nest* p);
void need_nest(const Request& r, const Nest& p, Need* need);

// Calls row for every row of the units [r.begin, r.end): the operands' elements (one where scalar[k]), the index of the
// first output element, and their count. Compiled once (nest.cpp): only the row differs between operators and dtypes.
using NestRow = void (*)(const Run& r, const char* const* x, const bool* scalar, int64_t index, int64_t n);
void walk(const Nest& p, const Run& r, NestRow row);

}  // namespace edgerun::EDGERUN_ISA
