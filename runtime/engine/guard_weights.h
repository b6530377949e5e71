// CRC-32C over what every run of a plan reads and none writes: the kernels' parameters and packed constants, and the constants
// themselves. Formed once when the plan is prepared; sessions check a few blocks in every run (session_scrub.cpp).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace edgerun {

struct Plan;

inline constexpr size_t kSumBlock = 4096;

// At most kSumBlock bytes that belong to one step: `index` counts its blocks, parameters and packed constants first, then the
// constants among its operands (those that several steps read belong to the first).
struct SumBlock {
  const char* at;
  uint32_t bytes, crc;
  int32_t step, index;

  bool holds() const;
};

// In order of the steps.
std::vector<SumBlock> sum_blocks(const Plan&);

// Parameters and tables of a step (Need::params, Need::table) say where its kernel reads and writes, and how much. Damaged they end
// in a crash, or in numbers from anywhere; there are few bytes of them, so they are verified before every use (word_sum.cpp).
struct GuideSum {
  uint64_t sums[2];
};
std::unique_ptr<GuideSum[]> guide_sums(const Plan&);
bool guide_holds(const Plan&, size_t step);

// Gives memory that a fault altered its bytes back while other sessions may be reading it. That is a race by intent, and hidden from
// ThreadSanitizer: a byte that is right is not written, one that is wrong becomes right for whoever reads it next.
void give_back(char* to, const char* right, size_t bytes);

enum class Repair : uint8_t {
  sound,       // every block of the step holds: nothing to do
  restored,    // prepared again from sound constants, or copied from another copy of the plan, or its sum formed again; all hold now
  source_lost, // the step's constants are damaged, too (or the checksum of a block is)
};
// Prepares the step once more and replaces its damaged parameters and packed constants. Other sessions of the plan may run:
// only damaged blocks are written. Allocates.
Repair restore_prepared(const Plan&, size_t step);
// Takes the damaged constants of the step (and of all that read the same) from a stored copy of the same plan, and prepares it
// again; source_lost where the constants lie in memory that must not be written. Throws PlanError where the copy is damaged or of another plan.
Repair restore_constants(const Plan&, size_t step, const void* copy, size_t bytes);

}  // namespace edgerun
