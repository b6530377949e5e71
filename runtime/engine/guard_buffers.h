// Which bytes of the arena (and of the caller's inputs) carry a sum, and where it is formed and verified: right after the step that
// writes them, and before every step that reads any of them. Decided once, from the plan alone; a run only walks lists.
//
// A range is what one step writes as one output. Views and parts: whoever reads or overwrites a part of a range concerns all of it.
// Where the plan branches, a range may or may not hold a sum: `valid` says so.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgerun {

struct Plan;

inline constexpr size_t kSumSegment = 32768;  // bytes that share one pair of sums

struct Buffers {
  struct Range {
    uint64_t offset;    // in the arena; of an input: its number
    size_t bytes;
    size_t element;     // bytes of one
    int32_t writer;     // the step that wrote it last; -1: an input
    bool input, valid;
    size_t sums, sums_at;  // how many, and of the first in Buffers::sums; none where nobody would compare them
  };
  struct Watch {
    int32_t range, operand;  // operand: of the step, -1 for what no step reads as one
  };
  struct List {
    uint32_t begin = 0, end = 0;
  };
  struct OfStep {
    List verify, drop, form;  // in `watches`; in `ranges_of`
  };

  Buffers() = default;
  explicit Buffers(const Plan&);
  bool any() const { return !ranges.empty(); }

  std::vector<Range> ranges;  // inputs first
  std::vector<OfStep> steps;
  std::vector<List> outputs;  // verify
  std::vector<Watch> watches;
  std::vector<int32_t> ranges_of;
  std::vector<uint64_t> sums, found;  // found: room for those of the largest range
};

}  // namespace edgerun
