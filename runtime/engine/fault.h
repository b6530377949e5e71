// Faults put into a session on purpose: what a campaign measures the checks with. Nothing here is looked at by a run that is
// not armed.
#pragma once
#include <string>
#include <vector>

#include "kernel.h"

namespace edgerun {

// Where a fault strikes. index counts elements of the first output (result, accumulator, rescaled), bytes of what is named
// (buffer … constants, checksum), or is the last unit still computed (stop), or the step that follows (jump).
enum class Site : uint8_t {
  result, accumulator, rescaled,  // within the kernel (FaultSite)
  buffer,                         // the step's outputs, one after another, when they are computed and checked
  input,                          // the step's operands that are no constants, one after another, when it begins
  weights, params, constants,     // packed constants; the kernel's own parameters; constant operands: in memory until heal()
  skip, repeat, swap, stop, jump, // the order of steps: left out, done twice, after its successor; units left out; elsewhere
  checksum,                       // what checks compare with: CRCs of the step's weights (in memory until heal()), then its results' sums
};
inline constexpr int kSites = 14;
const char* name_of(Site);

struct FaultSpec {
  Site site = Site::result;
  int64_t step = 0, index = 0;
  uint64_t mask = 1;  // bytes are struck from `index` on, its lowest byte first, as many as it has
  Fault::Mode mode = Fault::Mode::flip;
  int32_t runs = 1;   // 1: transient, it strikes once, in the next run. More: permanent for so many runs, it strikes whenever the
                      // step is computed, again and again if need be. Memory (weights, params, constants) stays struck until heal()
};

// Exclusive bounds of FaultSpec::index by site; 0: the step has nothing there.
struct SiteSizes {
  int64_t size[kSites] = {};
  int64_t& operator[](Site s) { return size[static_cast<size_t>(s)]; }
};

// Bytes as they were before they were struck.
struct Struck {
  char* at;
  std::vector<char> before;
};

inline int mask_bytes(uint64_t mask) {
  int n = 1;
  while (n < 8 && mask >> (8 * n)) ++n;
  return n;
}

inline void strike_bytes(char* at, uint64_t mask, Fault::Mode mode) {
  for (int k = 0; k < mask_bytes(mask); ++k) {
    const auto m = static_cast<unsigned char>(mask >> (8 * k));
    auto& byte = reinterpret_cast<unsigned char&>(at[k]);
    byte = static_cast<unsigned char>(mode == Fault::Mode::flip ? byte ^ m : mode == Fault::Mode::set ? byte | m : byte & ~m);
  }
}

}  // namespace edgerun
