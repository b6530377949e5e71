// Whether to stop at an exit: the rules of Plan.Policy (runtime/edgerun/planner/plan.py), without allocation.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace edgerun {

enum class PolicyKind : uint32_t { none = 0, confidence, entropy, patience, deadline, dart };

struct Policy {
  PolicyKind kind = PolicyKind::none;
  uint32_t patience = 1;
  double beta = 0;
  double mix = 0;  // plan.Policy.mix: score = (1 - mix) * max p + mix * (1 - H(p) / ln K); kind entropy is mix = 1
  int64_t budget_ns = 0;
  std::vector<double> thresholds, bin_edges, segment_ns;
  std::vector<double> temperature;  // plan.Policy.temperature: p = softmax(z / temperature[exit]); empty: 1
  std::vector<double> table, coeff;  // row-major, one row an exit; empty: not used
  uint32_t table_rows = 0, coeff_rows = 0;
};

// What an exit says about its input.
struct Verdict {
  double score = 0;
  int32_t predicted = -1;
  bool stop = false;
};

struct ExitView {
  const float* scores;
  int64_t classes;
  bool logits, last;
  int32_t index;
};

// Class and score of an exit, without the decision. The lowest index wins ties; a NaN gives a NaN score.
Verdict judge(const Policy&, const ExitView&);
// judge, then whether to stop. `history` holds the classes predicted at the `reached` exits before this one.
Verdict decide(const Policy&, const ExitView&, double alpha, const int32_t* history, int32_t reached, int64_t elapsed_ns);

// Empty when the policy fits, otherwise what does not. `classes` is the number of classes of each exit.
std::string policy_defect(const Policy&, const std::vector<int64_t>& classes, bool has_difficulty);

}  // namespace edgerun
