// Refines the number of threads of each step by measurement. The fastest time of every way is kept from one tuning to the next:
// a moment in which another program had a core would otherwise decide for good.
#include <algorithm>
#include <limits>

#include "session.h"

namespace edgerun {

RunError Session::tune(const void* const* inputs, int32_t rounds) {
  if (threads_ < 2) return {};
  constexpr double kMargin = 0.97;  // going parallel must pay for the cores it takes
  const size_t count = steps_.size();
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  std::vector<int64_t> best(count, kNone), ns(count);
  std::vector<int32_t> choice(count, 1);
  size_t way = 0;
  for (int32_t threads = 1; threads <= threads_; threads = threads < threads_ ? std::min(threads * 2, threads_) : threads_ + 1, ++way) {
    if (fastest_.size() == way) fastest_.emplace_back(count, kNone);
    std::vector<int64_t>& fastest = fastest_[way];
    for (LiveStep& s : steps_)
      if (is_kernel(s.op)) use_threads(s, threads, 0);
    any_parallel_ = threads > 1;
    keep_threads();
    for (int32_t round = 0; round < std::max(1, rounds); ++round) {
      std::fill(ns.begin(), ns.end(), 0);
      if (const RunError e = profile(inputs, nullptr, ns.data()); e.step >= 0) return e;
      for (size_t k = 0; k < count; ++k)
        if (ns[k] > 0) fastest[k] = std::min(fastest[k], ns[k]);  // 0: in the branch that was not taken
    }
    for (size_t k = 0; k < count; ++k) {
      const bool better = fastest[k] != kNone &&
                          (best[k] == kNone || static_cast<double>(fastest[k]) < kMargin * static_cast<double>(best[k]));
      if (!better) continue;
      best[k] = fastest[k];
      choice[k] = threads;
    }
  }
  any_parallel_ = false;
  for (size_t k = 0; k < count; ++k) {
    if (!is_kernel(steps_[k].op)) continue;
    use_threads(steps_[k], choice[k], best[k] == kNone ? 0 : best[k] * choice[k]);
    any_parallel_ |= steps_[k].threads > 1;
  }
  keep_threads();
  return {};
}

}  // namespace edgerun
