// Checksums of products (ABFT): what the operands let expect, gathered beside the step (run_part), is compared with what was seen.
#include <algorithm>
#include <cmath>

#include "session.h"

namespace edgerun {
namespace {

constexpr double kTiny = 1e-30;      // a value that small may be nothing in a sum of magnitudes
constexpr double kOverflow = 1e38;  // sums of floats this large may overflow though every result is finite: nothing can be said

constexpr int kAtOnce = 4;
static_assert(kMostSums % kAtOnce == 0, "sums are read so many at once");

void clear(Checksum* c, int sums) {
  c->magnitude = c->size = 0;
  std::fill_n(c->difference, kChecksumLanes, 0u);
  std::fill_n(c->seen, sums, 0.0);
  std::fill_n(c->expected, sums, 0.0);
}

}  // namespace

// The sum of |x| against the most that the products it came from can have given: what a product adds up to in magnitude is more than any
// of its results. That is far above what values are, so no clean run comes near it (1.01: the sums round), and far below what a
// flipped exponent makes of them. A bound that is infinite or NaN says nothing.
bool Session::within_range(const LiveStep& step, const Checksum& all) {
  double most = step.range_by[step.ranges];
  for (int32_t k = 0; k < step.ranges; ++k) most += step.range_by[k] * magnitudes_[static_cast<size_t>(step.range_of[k])];
  most = step.range_elements * (1.01 * most + kTiny);
  if (all.size <= most || most != most) return true;
  CheckSink& sink = sinks_[0];
  if (!sink.flags) sink.first_index = 0, sink.expected = 0, sink.got = static_cast<float>(all.size), sink.bound = static_cast<float>(most);
  sink.flags |= kRange;
  return false;
}

// Every test is written so that a NaN fails it, among the sums or in their size.
void Session::judge(const LiveStep& step, size_t index, int32_t threads) {
  if (late()) {  // the step may be unfinished; the run ends with that error
    for (Checksum& c : checksums_) c = Checksum{};
    return;
  }
  Checksum& all = checksums_[0];
  const int sums = step.audit_sums;
  for (size_t t = 1; threads > 1 && t < checksums_.size(); ++t) {
    Checksum& c = checksums_[t];
    for (int j = 0; j < sums; ++j) all.seen[j] += c.seen[j], all.expected[j] += c.expected[j];
    for (int j = 0; j < kChecksumLanes; ++j) all.difference[j] += c.difference[j];
    all.magnitude += c.magnitude;
    all.size += c.size;
    clear(&c, sums);
  }
  magnitudes_[index] = all.magnitude;
  if (step.range_by && __builtin_expect(!within_range(step, all), 0)) return clear(&all, sums);  // the sums would follow from it
  const double bound = step.audit_bound * all.magnitude + step.audit_floor;
  int wrong = 0;
  uint32_t difference = 0;
  if (!(all.magnitude > kOverflow))
    for (int j = 0; j < sums; j += kAtOnce)
      for (int i = j; i < j + kAtOnce; ++i) wrong |= !(std::fabs(all.seen[i] - all.expected[i]) <= bound);  // beyond the sums both are 0
  for (int j = 0; j < kChecksumLanes; ++j) difference |= all.difference[j];
  if (__builtin_expect(wrong != 0 || difference != 0, 0)) accuse(step, all, bound);
  clear(&all, sums);
}

// The first sum that is wrong.
void Session::accuse(const LiveStep& step, const Checksum& all, double bound) {
  CheckSink& sink = sinks_[0];
  const bool whole = step.audit_bound == 0;
  const int sums = whole ? kChecksumLanes : step.audit_sums;
  for (int j = 0; j < sums; ++j) {
    if (whole ? all.difference[j] == 0 : std::fabs(all.seen[j] - all.expected[j]) <= bound) continue;
    if (!sink.flags) {
      sink.first_index = j;
      sink.expected = whole ? 0.f : static_cast<float>(all.expected[j]);
      sink.got = whole ? static_cast<float>(static_cast<int32_t>(all.difference[j])) : static_cast<float>(all.seen[j]);
      sink.bound = static_cast<float>(bound);
    }
    sink.flags |= kChecksum;
    return;
  }
}

}  // namespace edgerun
