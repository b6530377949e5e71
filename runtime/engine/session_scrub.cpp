// The check weights: blocks of weights and constants, and the session's own tables (pointers, shapes, loop bounds), are verified in
// turns, as many in every run as a share of its time allows.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <type_traits>

#include "integrity/crc32c.h"
#include "session.h"

namespace edgerun {
namespace {

constexpr double kShare = 0.01;      // of a run's time, where the plan does not say
constexpr double kLeastRate = 1, kMostRate = 16, kRate = 8;  // bytes a nanosecond: CRC-32C from memory and from cache
constexpr size_t kItemBytes = 256;   // what one item costs beyond its own bytes
constexpr size_t kMeasurable = 1 << 16;
constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

template <class T>
uint32_t sum_of(const std::vector<T>& v, size_t begin, size_t end, uint32_t crc) {
  static_assert(std::is_trivially_copyable<T>::value, "summed byte by byte");
  return crc32c(v.data() + begin, (end - begin) * sizeof(T), crc);
}

}  // namespace

void Session::start_scrub() {
  if (!weights_on_) return;
  place_inputs(nullptr);
  kept_steps_.resize(steps_.size());
  std::memcpy(static_cast<void*>(kept_steps_.data()), steps_.data(), steps_.size() * sizeof(LiveStep));  // padding, too
  kept_views_.resize(views_.size());
  std::memcpy(kept_views_.data(), views_.data(), views_.size() * sizeof(TensorView));
  table_sums_.resize(steps_.size());
  keep_threads();
  const auto begin = std::chrono::steady_clock::now();
  scrub();
  const double ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
  scrub_total_ = 0;
  for (size_t k = 0; k < scrub_items(); ++k) scrub_total_ += item_bytes(k);
  scrub_rate_ = scrub_total_ < kMeasurable ? kRate : std::clamp(static_cast<double>(scrub_total_) / std::max(ns, 1.0), kLeastRate, kMostRate);
}

// The number of threads of a step may change: the copies follow, and are what is summed.
void Session::keep_threads() {
  for (size_t k = 0; k < table_sums_.size(); ++k) {
    kept_steps_[k].threads = steps_[k].threads;
    kept_steps_[k].chunks = steps_[k].chunks;
    table_sums_[k] = sum_of(kept_views_, views_at_[k], views_at_[k + 1], sum_of(kept_steps_, k, k + 1, 0));
  }
}

size_t Session::scrub_items() const { return plan_->sums.size() + table_sums_.size(); }

size_t Session::item_bytes(size_t item) const {
  if (item < plan_->sums.size()) return plan_->sums[item].bytes + kItemBytes;
  const size_t k = item - plan_->sums.size();
  return sizeof(LiveStep) + (views_at_[k + 1] - views_at_[k]) * sizeof(TensorView) + kItemBytes;
}

bool Session::table_holds(size_t k) const {
  return sum_of(views_, views_at_[k], views_at_[k + 1], sum_of(steps_, k, k + 1, 0)) == table_sums_[k];
}

// A damaged table would lead astray: it gets its bytes back at once, where the copy holds.
void Session::verify_item(size_t item) {
  if (item < plan_->sums.size()) {
    const SumBlock& b = plan_->sums[item];
    if (__builtin_expect(!b.holds(), 0)) add_finding({b.step, kWeights, b.index, kNone, kNone, kNone});
    return;
  }
  const size_t k = item - plan_->sums.size(), from = views_at_[k], to = views_at_[k + 1];
  if (__builtin_expect(table_holds(k), 1)) return;
  if (sum_of(kept_views_, from, to, sum_of(kept_steps_, k, k + 1, 0)) == table_sums_[k]) {
    std::memcpy(static_cast<void*>(&steps_[k]), &kept_steps_[k], sizeof(LiveStep));
    std::memcpy(views_.data() + from, kept_views_.data() + from, (to - from) * sizeof(TensorView));
  }
  add_finding({static_cast<int32_t>(k), kWeights, -1, kNone, kNone, kNone});
}

double Session::scrub_bytes_a_run() const {
  if (scrub_bytes_ > 0) return static_cast<double>(scrub_bytes_);
  return (plan_->scrub_share > 0 ? plan_->scrub_share : kShare) * static_cast<double>(last_ns_) * scrub_rate_;
}

// Before the inputs are placed: between runs the tables are always the same.
void Session::scrub_some() {
  if (!weights_on_) return;
  scrub_credit_ = std::min(scrub_credit_ + scrub_bytes_a_run(), static_cast<double>(scrub_total_));
  while (scrub_credit_ >= static_cast<double>(item_bytes(scrub_next_))) {
    scrub_credit_ -= static_cast<double>(item_bytes(scrub_next_));
    verify_item(scrub_next_);
    if (++scrub_next_ == scrub_items()) scrub_next_ = 0;
  }
}

const std::vector<EngineFinding>& Session::scrub() {
  info_.findings = info_.findings_dropped = 0;
  findings_.clear();
  for (size_t k = 0; weights_on_ && k < scrub_items(); ++k) verify_item(k);
  return findings_;
}

int64_t Session::scrub_runs() const {
  const double each = scrub_bytes_a_run();
  return weights_on_ && each > 0 ? static_cast<int64_t>(static_cast<double>(scrub_total_) / each) + 1 : 0;
}

}  // namespace edgerun
