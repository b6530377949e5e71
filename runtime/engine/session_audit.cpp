// Checksums of products (ABFT): what the operands let expect is gathered after the step and compared with what was seen.
#include <algorithm>
#include <cmath>

#include "session.h"

namespace edgerun {
namespace {

constexpr double kOverflow = 1e38;  // sums of floats this large may overflow though every result is finite: nothing can be said

void clear(Checksum* c, int sums) {
  c->magnitude = 0;
  std::fill_n(c->difference, kChecksumLanes, 0u);
  std::fill_n(c->seen, sums, 0.0);
  std::fill_n(c->expected, sums, 0.0);
}

}  // namespace

void Session::audit(const LiveStep& step, int32_t threads) {
  if (late()) {  // the step may be unfinished; the run ends with that error
    for (Checksum& c : checksums_) c = Checksum{};
    return;
  }
  if (threads > 1 && step.audit_units >= threads) {
    const Job job{this, &step, true, true};
    team_->run(&Session::chunk, &job, threads);
  } else {
    Run call = step.call;
    call.end = step.audit_units;
    step.audit(call);
  }
  judge(step, threads);
}

// Every test is written so that a NaN fails it, among the sums or in their size.
void Session::judge(const LiveStep& step, int32_t threads) {
  Checksum& all = checksums_[0];
  const int sums = step.audit_sums;
  for (size_t t = 1; threads > 1 && t < checksums_.size(); ++t) {
    Checksum& c = checksums_[t];
    for (int j = 0; j < sums; ++j) all.seen[j] += c.seen[j], all.expected[j] += c.expected[j];
    for (int j = 0; j < kChecksumLanes; ++j) all.difference[j] += c.difference[j];
    all.magnitude += c.magnitude;
    clear(&c, sums);
  }
  const double bound = step.audit_bound * all.magnitude + step.audit_floor;
  bool right = true;
  uint32_t difference = 0;
  if (!(all.magnitude > kOverflow))
    for (int j = 0; j < sums; ++j) right &= std::fabs(all.seen[j] - all.expected[j]) <= bound;
  for (int j = 0; j < kChecksumLanes; ++j) difference |= all.difference[j];
  if (__builtin_expect(!right || difference != 0, 0)) accuse(step, all, bound);
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
