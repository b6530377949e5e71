// Steps of a stored plan: operands, attributes and control targets, checked so that every run stays in bounds and ends.
#include <algorithm>

#include "plan_bytes.h"

namespace edgerun {
namespace {

constexpr uint32_t kMaxOperands = 4096;

std::vector<int32_t> operands(const Plan& plan, f::Range r, bool output, int64_t step) {
  Reader::within(r, plan.ints.size(), "operand");
  if (r.count > kMaxOperands) fail("too many operands", step);
  std::vector<int32_t> v;
  for (uint32_t k = 0; k < r.count; ++k) {
    const int64_t index = plan.ints[r.at + k];
    if (index < (output ? 0 : -1) || index >= static_cast<int64_t>(plan.slots.size()))
      fail("step " + std::to_string(step) + ": operand " + std::to_string(index) + " is not a slot", step);
    if (output && plan.slots[static_cast<size_t>(index)].place != Place::arena)
      fail("step " + std::to_string(step) + ": writes slot '" + plan.slots[static_cast<size_t>(index)].name + "', which is not in the arena", step);
    v.push_back(static_cast<int32_t>(index));
  }
  return v;
}

uint32_t guard_of(const std::string& kind, int64_t index) {
  static constexpr struct {
    const char* kind;
    uint32_t bit;
  } kKinds[] = {{"maed", kMaed}, {"maed_paper", kMaed}, {"abft", kAbft}, {"weights", kGuardWeights}, {"buffers", kGuardBuffers}, {"flow", kGuardFlow},
                {"duplicate", kGuardDuplicate}, {"range", kGuardRange}};
  for (const auto& k : kKinds)
    if (kind == k.kind) return k.bit;
  fail("step " + std::to_string(index) + ": unknown check '" + kind + "'", index);
}

// Check range: range_by has a number for each step in range_of, all of them before this one, and one more.
void verify_range(const Step& s, int64_t index) {
  const Attrs attrs{s.attrs.data(), static_cast<int32_t>(s.attrs.size())};
  const Attr *of = attrs.find("range_of"), *by = attrs.find("range_by");
  const int32_t count = of ? of->count : 0;
  bool right = by && by->floats && by->count == count + 1 && (!of || of->ints) && !s.in.empty() && s.in[0] >= 0;
  for (int32_t k = 0; right && k < count; ++k) right = of->ints[k] >= 0 && of->ints[k] < index;
  for (int32_t k = 0; right && k <= count; ++k) right = by->floats[k] >= 0;
  if (!right) fail("step " + std::to_string(index) + ": check 'range' needs integers 'range_of', steps before it, and one more number 'range_by' that is not negative", index);
}

void read_control(Plan& plan, Step& s, int64_t index) {
  const auto attr = [&](const char* name) -> int64_t {
    const Attr* a = Attrs{s.attrs.data(), static_cast<int32_t>(s.attrs.size())}.find(name);
    if (!a || !a->ints || a->count != 1) fail("step " + std::to_string(index) + ": " + s.kernel_name + " needs one integer '" + name + "'", index);
    return a->ints[0];
  };
  if (s.op == Op::exit) {
    const int64_t e = attr("index");
    if (e < 0 || e >= static_cast<int64_t>(plan.exits.size())) fail("step " + std::to_string(index) + ": no exit " + std::to_string(e), index);
    s.target = static_cast<uint32_t>(e);
    return;
  }
  const int64_t t = attr("target");
  if (t <= index || t > static_cast<int64_t>(plan.steps.size()))
    fail("step " + std::to_string(index) + ": expected a target after it, found " + std::to_string(t), index);
  s.target = static_cast<uint32_t>(t);
  if (s.op == Op::jump) return;
  if (s.in.size() != 1 || s.in[0] < 0) fail("step " + std::to_string(index) + ": branch takes one operand", index);
  const Slot& c = plan.slots[static_cast<size_t>(s.in[0])];
  if (c.view.dtype != DType::b8 || c.view.elements() != 1) fail("step " + std::to_string(index) + ": branch takes a boolean scalar", index);
}

}  // namespace

void read_steps(const Reader& r, Plan& plan) {
  const auto attrs = r.records<f::Attr>(f::kAttrs);
  const auto checks = r.records<f::Check>(f::kChecks);
  plan.attr_names.reserve(attrs.size());  // names are referenced by pointer
  std::vector<Attr> views;
  for (const f::Attr& a : attrs) {
    plan.attr_names.push_back(r.text(a.name));
    Reader::within(a.values, a.is_float ? plan.floats.size() : plan.ints.size(), "attribute");
    views.push_back({plan.attr_names.back().c_str(), a.is_float ? nullptr : plan.ints.data() + a.values.at,
                     a.is_float ? plan.floats.data() + a.values.at : nullptr, static_cast<int32_t>(a.values.count)});
  }
  const auto records = r.records<f::Step>(f::kSteps);
  plan.steps.resize(records.size());
  for (size_t k = 0; k < records.size(); ++k) {
    const f::Step& s = records[k];
    const auto index = static_cast<int64_t>(k);
    Step& step = plan.steps[k];
    step.kernel_name = r.text(s.kernel);
    step.node = r.text(s.node);
    step.op_name = r.text(s.op);
    step.in = operands(plan, s.inputs, false, index);
    step.out = operands(plan, s.outputs, true, index);
    Reader::within(s.attrs, views.size(), "attributes");
    Reader::within(s.checks, checks.size(), "checks");
    step.attrs.assign(views.begin() + s.attrs.at, views.begin() + s.attrs.at + s.attrs.count);
    for (uint32_t c = s.checks.at; c < s.checks.at + s.checks.count; ++c) {
      const uint32_t guard = guard_of(r.text(checks[c].kind), index);
      step.guards |= guard;
      if (guard == kGuardWeights && checks[c].bound > 0) plan.scrub_share = std::min<double>(std::max<double>(plan.scrub_share, checks[c].bound), 1);
    }
    if (step.guards & kGuardRange) verify_range(step, index);
    step.op = step.kernel_name == "branch" ? Op::branch : step.kernel_name == "jump" ? Op::jump
              : step.kernel_name == "exit" ? Op::exit : Op::kernel;
    if (step.op != Op::kernel) read_control(plan, step, index);
    else if (step.out.size() == 1 && step.out[0] == plan.difficulty_slot) step.op = Op::difficulty;
  }
}

}  // namespace edgerun
