// The decision rules of plan.Policy, number by number. Python's planner/decide.py is compared in tests/engine/test_policy.py.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "policy.h"

using namespace edgerun;

namespace {

const float kLogits[4] = {0.f, 2.f, 1.f, -1.f};
const float kEven[4] = {0.25f, 0.25f, 0.25f, 0.25f};

ExitView view(const float* scores, bool logits, int index = 0, bool last = false) { return {scores, 4, logits, last, index}; }

Policy of(PolicyKind kind, std::vector<double> thresholds) {
  Policy p;
  p.kind = kind;
  p.thresholds = std::move(thresholds);
  return p;
}

double top_probability() {
  double sum = 0;
  for (float z : kLogits) sum += std::exp(static_cast<double>(z) - 2.0);
  return 1.0 / sum;
}

}  // namespace

TEST_CASE("confidence is the largest probability and must exceed the threshold") {
  const Verdict v = decide(of(PolicyKind::confidence, {0.6}), view(kLogits, true), 0, nullptr, 0, 0);
  CHECK(v.predicted == 1);
  CHECK(v.score == doctest::Approx(top_probability()).epsilon(1e-6));
  CHECK(v.stop);
  CHECK_FALSE(decide(of(PolicyKind::confidence, {0.25}), view(kEven, false), 0, nullptr, 0, 0).stop);
}

TEST_CASE("entropy: certain is 1, even is 0; ties go to the lowest index") {
  const float sure[4] = {0, 0, 1, 0};
  CHECK(judge(of(PolicyKind::entropy, {}), view(sure, false)).score == doctest::Approx(1.0));
  const Verdict v = judge(of(PolicyKind::entropy, {}), view(kEven, false));
  CHECK(std::fabs(v.score) < 1e-6);
  CHECK(v.predicted == 0);
}

TEST_CASE("temperature and mix") {
  Policy p = of(PolicyKind::confidence, {0.5});
  p.temperature = {2.0};
  double sum = 0;
  for (float z : kLogits) sum += std::exp((static_cast<double>(z) - 2.0) / 2.0);
  CHECK(judge(p, view(kLogits, true)).score == doctest::Approx(1.0 / sum).epsilon(1e-6));
  CHECK(judge(p, view(kLogits, true, 1)).score == doctest::Approx(top_probability()).epsilon(1e-6));
  p = of(PolicyKind::confidence, {0.5});
  p.mix = 0.5;
  const double certainty = judge(of(PolicyKind::entropy, {}), view(kLogits, true)).score;
  CHECK(judge(p, view(kLogits, true)).score == doctest::Approx(0.5 * top_probability() + 0.5 * certainty).epsilon(1e-6));
}

TEST_CASE("dart: coefficient, difficulty, clipping and never") {
  Policy p = of(PolicyKind::dart, {0.5});
  const double s = top_probability();
  CHECK(decide(p, view(kLogits, true), 0, nullptr, 0, 0).stop);
  p.beta = 0.3;
  CHECK(decide(p, view(kLogits, true), 0.2, nullptr, 0, 0).stop == (s > 0.5 + 0.3 * 0.2));
  CHECK_FALSE(decide(p, view(kLogits, true), 1.0, nullptr, 0, 0).stop);
  p.coeff = {1.0, 0.1, 1.0, 1.0};
  p.coeff_rows = 1;
  CHECK(decide(p, view(kLogits, true), 1.0, nullptr, 0, 0).stop);
  p.thresholds = {2.0};  // times 0.1 it would be passed
  CHECK_FALSE(decide(p, view(kLogits, true), 0, nullptr, 0, 0).stop);
  p.thresholds = {0.9};
  p.coeff = {};
  p.coeff_rows = 0;
  p.beta = -5;  // clipped at 0: every score above 0 stops
  CHECK(decide(p, view(kLogits, true), 1.0, nullptr, 0, 0).stop);
}

TEST_CASE("dart table: a bin's edge belongs to the upper bin") {
  Policy p = of(PolicyKind::dart, {});
  p.bin_edges = {0.25, 0.5};
  p.table = {0.0, 2.0, 0.0};
  p.table_rows = 1;
  CHECK(decide(p, view(kLogits, true), 0.2, nullptr, 0, 0).stop);
  CHECK_FALSE(decide(p, view(kLogits, true), 0.25, nullptr, 0, 0).stop);
  CHECK(decide(p, view(kLogits, true), 0.5, nullptr, 0, 0).stop);
}

TEST_CASE("patience counts agreeing exits") {
  Policy p = of(PolicyKind::patience, {});
  p.patience = 2;
  const int32_t agree[3] = {0, 1, 1}, differ[3] = {1, 0, 1};
  CHECK(decide(p, view(kLogits, true), 0, agree, 3, 0).stop);
  CHECK_FALSE(decide(p, view(kLogits, true), 0, differ, 3, 0).stop);
  CHECK_FALSE(decide(p, view(kLogits, true), 0, agree + 2, 1, 0).stop);
}

TEST_CASE("deadline looks at the next segment") {
  Policy p = of(PolicyKind::deadline, {});
  p.segment_ns = {10, 100};
  p.budget_ns = 150;
  CHECK_FALSE(decide(p, view(kLogits, true), 0, nullptr, 0, 50).stop);
  CHECK(decide(p, view(kLogits, true), 0, nullptr, 0, 51).stop);
}

TEST_CASE("a NaN never stops; the last exit never decides") {
  const float nan[4] = {0, std::numeric_limits<float>::quiet_NaN(), 9, 0};
  const Verdict v = decide(of(PolicyKind::confidence, {0.0}), view(nan, true), 0, nullptr, 0, 0);
  CHECK(std::isnan(v.score));
  CHECK(v.predicted == 1);
  CHECK_FALSE(v.stop);
  CHECK_FALSE(decide(of(PolicyKind::confidence, {}), view(kLogits, true, 0, true), 0, nullptr, 0, 0).stop);
}

TEST_CASE("defects of a policy are named") {
  CHECK(policy_defect(of(PolicyKind::confidence, {0.5}), {4, 4}, false).empty());
  CHECK_FALSE(policy_defect(of(PolicyKind::confidence, {}), {4, 4}, false).empty());
  CHECK_FALSE(policy_defect(of(PolicyKind::deadline, {}), {4, 4}, false).empty());
  CHECK_FALSE(policy_defect(of(PolicyKind::patience, {}), {}, false).empty());
  Policy p = of(PolicyKind::dart, {0.5});
  p.beta = 0.3;
  CHECK_FALSE(policy_defect(p, {4, 4}, false).empty());
  CHECK(policy_defect(p, {4, 4}, true).empty());
}
