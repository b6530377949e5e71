// Which bytes of the arena (and of the caller's inputs) carry a sum, and where it is formed and verified: right after the step that
// writes them, and after the last step that reads them. That covers all the time in which a reader could have read something else,
// once; a sum verified before a reader would see what happened between two steps, where next to no time passes. What is about to
// be overwritten is verified before, and what decides about the way of the run, too. Decided once, from the plan alone.
//
// A range is what one step writes as one output. Views and parts: whoever reads or overwrites a part of a range concerns all of it.
// Where the plan branches the last reader may not run: ranges that were read and not verified since (`read`) are verified when
// they are overwritten, at an exit and at the end. A range may or may not hold a sum (`valid`).
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace edgerun {

struct Plan;

inline constexpr size_t kSumSegment = 8192;  // bytes that share one pair of sums

struct Buffers {
  struct Range {
    uint64_t offset;    // in the arena; of an input: its number
    size_t bytes;
    size_t element;     // bytes of one
    int32_t writer;     // the step that wrote it last; -1: an input
    int32_t reader;     // the step that read it last
    bool input, valid, read;
    size_t sums, sums_at;  // how many, and of the first in Buffers::sums; none where nobody would compare them
  };
  struct List {
    uint32_t begin = 0, end = 0;
  };
  struct OfStep {
    List read, drop, form, last;  // in `ranges_of`; last: this is who reads them last
  };

  Buffers() = default;
  explicit Buffers(const Plan&);
  bool any() const { return !ranges.empty(); }

  std::vector<Range> ranges;  // inputs first
  std::vector<OfStep> steps;
  std::vector<List> outputs;  // ranges that each lies in
  std::vector<int32_t> ranges_of;
  std::vector<uint64_t> sums, found;  // found: room for all that one step verifies
  size_t most_items = 0;              // that one step forms and verifies
};

}  // namespace edgerun
