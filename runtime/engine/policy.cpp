#include "policy.h"

#include <algorithm>
#include <cmath>

namespace edgerun {
namespace {

constexpr double kNever = 2.0;  // thresholds above 1 are not clipped: never leave here

double threshold(const Policy& p, int32_t index, int32_t predicted, double alpha) {
  double base;
  if (p.kind == PolicyKind::dart && p.table_rows) {
    size_t bin = 0;
    for (double edge : p.bin_edges) bin += alpha >= edge;
    base = p.table[static_cast<size_t>(index) * (p.table.size() / p.table_rows) + bin];
  } else {
    base = p.thresholds[static_cast<size_t>(index)];
  }
  if (base > 1.0) return kNever;
  if (p.kind != PolicyKind::dart) return base;
  double factor = 1.0;
  if (static_cast<uint32_t>(index) < p.coeff_rows) {
    const size_t columns = p.coeff.size() / p.coeff_rows;
    if (static_cast<size_t>(predicted) < columns) factor = p.coeff[static_cast<size_t>(index) * columns + static_cast<size_t>(predicted)];
  }
  return std::min(std::max(factor * base + p.beta * alpha, 0.0), 1.0);
}

bool same_class(const Policy& p, int32_t predicted, const int32_t* history, int32_t reached) {
  if (static_cast<int64_t>(reached) < static_cast<int64_t>(p.patience)) return false;
  for (uint32_t k = 1; k <= p.patience; ++k)
    if (history[reached - static_cast<int32_t>(k)] != predicted) return false;
  return true;
}

bool decreasing(const std::vector<double>& v) {
  for (size_t k = 1; k < v.size(); ++k)
    if (!(v[k - 1] <= v[k])) return true;
  return false;
}

}  // namespace

Verdict judge(const Policy& policy, const ExitView& e) {
  Verdict v;
  if (e.classes <= 0) return v;
  v.predicted = 0;
  for (int64_t k = 0; k < e.classes; ++k) {
    if (std::isnan(e.scores[k])) {
      v.predicted = static_cast<int32_t>(k);
      v.score = e.scores[k];
      return v;
    }
    if (e.scores[k] > e.scores[v.predicted]) v.predicted = static_cast<int32_t>(k);
  }
  const auto exit = static_cast<size_t>(e.index);
  const float temperature = exit < policy.temperature.size() ? static_cast<float>(policy.temperature[exit]) : 1.f;
  const double mix = policy.kind == PolicyKind::entropy ? 1.0 : policy.mix;
  const bool soft = e.logits || temperature != 1.f;
  const auto logit = [&](int64_t k) { return (e.logits ? e.scores[k] : std::log(e.scores[k])) / temperature; };
  const float top = logit(v.predicted);
  float sum = 0.f;
  for (int64_t k = 0; soft && k < e.classes; ++k) sum += std::exp(logit(k) - top);
  const double largest = soft ? 1.f / sum : e.scores[v.predicted];
  if (mix == 0.0) {
    v.score = largest;
    return v;
  }
  double certainty = 1.0;
  if (e.classes > 1) {
    double plogp = 0;
    for (int64_t k = 0; k < e.classes; ++k) {
      const float p = soft ? std::exp(logit(k) - top) / sum : e.scores[k];
      plogp += p == 0.f ? 0.f : p * std::log(p);
    }
    certainty += plogp / std::log(static_cast<double>(e.classes));
  }
  v.score = e.classes > 1 ? (1.0 - mix) * largest + mix * certainty : 1.0;
  return v;
}

Verdict decide(const Policy& p, const ExitView& e, double alpha, const int32_t* history, int32_t reached,
               int64_t elapsed_ns) {
  Verdict v = judge(p, e);
  if (e.last) return v;
  switch (p.kind) {
    case PolicyKind::none: break;
    case PolicyKind::patience: v.stop = same_class(p, v.predicted, history, reached); break;
    case PolicyKind::deadline:
      v.stop = static_cast<double>(elapsed_ns) + p.segment_ns[static_cast<size_t>(e.index) + 1] > static_cast<double>(p.budget_ns);
      break;
    default: v.stop = v.score > threshold(p, e.index, v.predicted, alpha);
  }
  return v;
}

std::string policy_defect(const Policy& p, const std::vector<int64_t>& classes, bool has_difficulty) {
  const size_t exits = classes.size(), decisions = exits ? exits - 1 : 0;
  const auto at_least = [](const char* what, size_t found, size_t wanted) {
    return found >= wanted ? std::string()
                           : std::string("policy: expected ") + std::to_string(wanted) + " " + what + ", found " + std::to_string(found);
  };
  if (p.kind > PolicyKind::dart) return "policy: unknown kind " + std::to_string(static_cast<uint32_t>(p.kind));
  if (p.kind == PolicyKind::none) return "";
  if (!exits) return "policy: the plan has no exits";
  if (p.kind == PolicyKind::deadline) return at_least("segment times", p.segment_ns.size(), exits);
  if (p.kind == PolicyKind::patience) return "";
  if (p.table_rows && p.table.size() % p.table_rows) return "policy: the table's rows differ in length";
  if (p.coeff_rows && p.coeff.size() % p.coeff_rows) return "policy: the coefficients' rows differ in length";
  if (p.kind == PolicyKind::dart) {
    if (!has_difficulty && (p.beta != 0 || !p.table.empty())) return "policy: dart needs a difficulty estimator in the plan";
    if (p.table_rows) {
      if (decreasing(p.bin_edges)) return "policy: bin edges must ascend";
      const size_t columns = p.table.size() / p.table_rows;
      if (columns < p.bin_edges.size() + 1)
        return "policy: expected " + std::to_string(p.bin_edges.size() + 1) + " table columns, found " + std::to_string(columns);
      return at_least("table rows", p.table_rows, decisions);
    }
  }
  return at_least("thresholds", p.thresholds.size(), decisions);
}

}  // namespace edgerun
