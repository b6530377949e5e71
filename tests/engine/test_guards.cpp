// Guards by themselves: which steps ran, which bytes carry a sum and when it is verified, weights and tables. What they find in a
// running model: tests/engine/test_guards.py.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "guard_buffers.h"
#include "guard_flow.h"
#include "plan.h"
#include "plan_builder.h"
#include "session.h"

using namespace edgerun;
using namespace edgerun::test;

namespace {

std::shared_ptr<Plan> load(const Bytes& bytes) {
  std::shared_ptr<Plan> plan = read_plan(bytes.data(), bytes.size(), false);
  prepare_plan(*plan);
  return plan;
}

const std::vector<std::string> kAll = {"weights", "flow", "buffers", "duplicate"};

void guard(PlanBuilder& b) {
  for (const std::string& kind : kAll) b.check(kind);
}

// x → relu → y0 → relu → y1 …, each of 16 floats.
std::shared_ptr<Plan> chain(int n) {
  PlanBuilder b;
  b.arena_bytes = 128;
  uint32_t last = b.slot("x", 0, {1, 16}, PlanBuilder::input, 0);
  b.in(last);
  for (int k = 0; k < n; ++k) {
    const uint32_t y = b.slot("y" + std::to_string(k), 0, {1, 16}, PlanBuilder::arena, k % 2 * 64u);
    b.step("relu_f32", {last}, {y});
    guard(b);
    last = y;
  }
  b.out(last);
  return load(b.bytes());
}

// flag, x → branch: then relu(x), jump; else x + x; both → y → relu → z.
std::shared_ptr<Plan> branching() {
  PlanBuilder b;
  b.arena_bytes = 128;
  const auto flag = b.slot("flag", 12, {}, PlanBuilder::input, 0), x = b.slot("x", 0, {1, 4}, PlanBuilder::input, 1);
  const auto y = b.slot("y", 0, {1, 4}, PlanBuilder::arena, 0), z = b.slot("z", 0, {1, 4}, PlanBuilder::arena, 64);
  b.in(flag), b.in(x);
  b.step("branch", {flag}, {}, {{"target", {3}}});
  b.check("flow");
  b.step("relu_f32", {x}, {y}), guard(b);
  b.step("jump", {}, {}, {{"target", {4}}});
  b.check("flow");
  b.step("add_f32", {x, x}, {y}), guard(b);
  b.step("relu_f32", {y}, {z}), guard(b);
  b.out(z);
  return load(b.bytes());
}

struct Walk {
  Flow flow;
  const Plan& plan;
  explicit Walk(const Plan& p) : flow(p), plan(p) { flow.begin(); }
  void did(size_t step, int64_t short_by = 0) {
    const Step& s = plan.steps[step];
    flow.did(Flow::number(step), is_kernel(s.op) ? s.need.units - short_by : 0);
  }
};

using Ranges = std::vector<int32_t>;

Ranges of(const Buffers& b, const Buffers::List& list) {
  Ranges ranges(b.ranges_of.begin() + list.begin, b.ranges_of.begin() + list.end);
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

}  // namespace

TEST_CASE("the flow of steps in order holds, at every point") {
  const auto plan = chain(5);
  Walk w(*plan);
  for (size_t k = 0; k < 5; ++k) {
    w.did(k);
    CHECK(w.flow.holds(k + 1));
  }
}

TEST_CASE("a skipped, repeated, swapped, unknown or unfinished step breaks the flow, and it is told once") {
  const auto plan = chain(5);
  const std::vector<std::vector<size_t>> orders = {{0, 1, 3, 4}, {0, 1, 1, 2, 3, 4}, {0, 2, 1, 3, 4}, {0, 1, 2, 3}, {1, 2, 3, 4},
                                                   {0, 1, 2, 3, 4, 4}, {0, 0, 2, 3, 4}, {}, {4, 3, 2, 1, 0}};
  for (const auto& order : orders) {
    Walk w(*plan);
    for (size_t k : order) w.did(k);
    CHECK_FALSE(w.flow.holds(5));
    CHECK(w.flow.holds(5));
    CHECK(w.flow.steps() == static_cast<int64_t>(order.size()));
  }
  Walk w(*plan);
  for (size_t k = 0; k < 5; ++k) w.did(k, k == 2);
  CHECK_FALSE(w.flow.holds(5));
}

TEST_CASE("the flow follows the branch that the condition asks for, and no other") {
  const auto plan = branching();
  for (const bool taken : {true, false})
    for (const bool wrong : {true, false}) {
      Walk w(*plan);
      w.did(0);
      w.flow.went(0, taken ? 1 : 3);
      if (taken != wrong) {
        w.did(1), w.did(2);
        w.flow.went(2, 4);
      } else {
        w.did(3);
      }
      w.did(4);
      CHECK(w.flow.holds(5) == !wrong);
    }
}

TEST_CASE("sums are formed of what is read later, verified after the last reader, and dropped when it is overwritten") {
  PlanBuilder p;
  p.arena_bytes = 128;
  const auto x = p.slot("x", 0, {1, 16}, PlanBuilder::input, 0);
  const auto y = p.slot("y", 0, {1, 16}, PlanBuilder::arena, 0), z = p.slot("z", 0, {1, 16}, PlanBuilder::arena, 64);
  p.in(x);
  p.step("relu_f32", {x}, {y}), guard(p);
  p.step("add_f32", {x, y}, {z}), guard(p);
  p.step("add_f32", {y, z}, {z}), guard(p);  // over its own operand
  p.step("relu_f32", {z}, {y}), guard(p);
  p.out(y);
  const Buffers b(*load(p.bytes()));
  REQUIRE(b.ranges.size() == 3);  // x, y, z
  CHECK(of(b, b.steps[0].read) == Ranges{0});
  CHECK(of(b, b.steps[0].last) == Ranges{});
  CHECK(of(b, b.steps[1].read) == Ranges{0, 1});
  CHECK(of(b, b.steps[1].last) == Ranges{0});
  CHECK(of(b, b.steps[2].read) == Ranges{1, 2});
  CHECK(of(b, b.steps[2].last) == Ranges{1});  // z is gone by then: it is verified before
  CHECK(of(b, b.steps[2].drop) == Ranges{2});
  CHECK(of(b, b.steps[3].last) == Ranges{2});
  CHECK(of(b, b.steps[3].drop) == Ranges{1});
  CHECK(of(b, b.outputs[0]) == Ranges{1});
  for (const auto& s : b.steps) CHECK(of(b, s.form).size() == 1);
}

TEST_CASE("a reader of parts verifies each, a writer of a part drops the whole, and what nobody reads has no sum") {
  PlanBuilder p;
  p.arena_bytes = 320;
  const auto x = p.slot("x", 0, {1, 16}, PlanBuilder::input, 0);
  const auto left = p.slot("left", 0, {1, 16}, PlanBuilder::arena, 0), right = p.slot("right", 0, {1, 16}, PlanBuilder::arena, 64);
  const auto both = p.slot("both", 0, {1, 32}, PlanBuilder::arena, 0), y = p.slot("y", 0, {1, 32}, PlanBuilder::arena, 128);
  p.in(x);
  p.step("relu_f32", {x}, {left}), guard(p);
  p.step("relu_f32", {x}, {right}), guard(p);
  p.step("relu_f32", {both}, {y}), guard(p);
  p.step("relu_f32", {x}, {right}), guard(p);
  p.step("relu_f32", {y}, {both}), guard(p);  // over both halves
  const auto unread = p.slot("unread", 0, {1, 16}, PlanBuilder::arena, 256);
  p.step("relu_f32", {x}, {unread}), guard(p);
  p.out(both);
  const auto plan = load(p.bytes());
  const Buffers b(*plan);
  CHECK(of(b, b.steps[2].read) == Ranges{1, 2});
  CHECK(of(b, b.steps[2].last) == Ranges{1, 2});
  CHECK(of(b, b.steps[4].drop) == Ranges{1, 2});
  CHECK(of(b, b.steps[5].form).empty());
  std::vector<float> in(16, 1.5f), out(32);
  const void* inputs[] = {in.data()};
  void* outputs[] = {out.data()};
  Session session(plan, {});
  CHECK(session.run(inputs, outputs).step < 0);
  CHECK(session.findings().empty());
  CHECK(out == std::vector<float>(32, 1.5f));
}

TEST_CASE("where a plan branches, the sum of the path that was taken counts") {
  const auto plan = branching();
  const Buffers b(*plan);
  CHECK(of(b, b.steps[4].read).size() == 1);
  Session session(plan, {});
  const std::vector<float> x = {-1, 2, -3, 4};
  std::vector<float> z(4);
  for (const uint8_t flag : {uint8_t{1}, uint8_t{0}, uint8_t{1}}) {
    const void* inputs[] = {&flag, x.data()};
    void* outputs[] = {z.data()};
    CHECK(session.run(inputs, outputs).step < 0);
    CHECK(session.findings().empty());
    CHECK(z == (flag ? std::vector<float>{0, 2, 0, 4} : std::vector<float>{0, 4, 0, 8}));
  }
}

TEST_CASE("weights: a changed byte is found in its block, and prepared again") {
  PlanBuilder p;
  p.arena_bytes = 64 * 128;
  std::vector<float> w(64 * 48), x(64, 0.25f), y(48);
  for (size_t k = 0; k < w.size(); ++k) w[k] = static_cast<float>(k % 7) - 3;
  const auto in = p.slot("x", 0, {1, 64}, PlanBuilder::input, 0);
  const auto weights = p.slot("w", 0, {64, 48}, PlanBuilder::constant, p.constant_of(w.data(), w.size() * 4));
  const auto out = p.slot("y", 0, {1, 48}, PlanBuilder::arena, 0);
  p.in(in);
  p.step("matmul_f32", {in, weights}, {out}), guard(p);
  p.out(out);
  const Bytes bytes = p.bytes();
  const auto plan = load(bytes);
  const Step& s = plan->steps[0];
  REQUIRE(s.need.packed >= w.size() * 4);
  REQUIRE(plan->sums.size() > 4);
  SessionOptions options;
  options.scrub_bytes = 1 << 20;
  Session session(plan, options);
  CHECK(session.scrub().empty());
  CHECK(session.scrub_runs() == 1);
  const void* inputs[] = {x.data()};
  void* outputs[] = {y.data()};
  CHECK(session.run(inputs, outputs).step < 0);
  const std::vector<float> golden = y;

  char* byte = plan->prepared.data() + s.packed_at + 5000;
  *byte = static_cast<char>(*byte ^ 16);
  session.run(inputs, outputs);
  REQUIRE(session.findings().size() >= 1);
  CHECK(session.findings()[0].flags == kWeights);
  CHECK(session.findings()[0].step == 0);
  CHECK(session.findings()[0].index == static_cast<int64_t>((s.packed_at - s.params_at + 5000) / kSumBlock));
  CHECK(restore_prepared(*plan, 0) == Repair::restored);
  CHECK(restore_prepared(*plan, 0) == Repair::sound);
  CHECK(session.scrub().empty());
  session.run(inputs, outputs);
  CHECK(y == golden);

  char* constant = plan->slots[weights].view.as<char>() + 777;
  *constant = static_cast<char>(*constant ^ 1);
  *byte = static_cast<char>(*byte ^ 16);
  CHECK(session.scrub().size() == 2);
  CHECK(restore_prepared(*plan, 0) == Repair::source_lost);
  Bytes damaged = bytes;
  damaged[damaged.size() - 100] ^= 1;
  CHECK_THROWS_AS(restore_constants(*plan, 0, damaged.data(), damaged.size()), PlanError);
  CHECK(restore_constants(*plan, 0, bytes.data(), bytes.size()) == Repair::restored);
  CHECK(session.scrub().empty());
}

TEST_CASE("a session verifies only a little in every run, and everything in turns") {
  const auto plan = chain(5);
  SessionOptions options;
  options.scrub_bytes = 700;  // an item, or two
  Session session(plan, options);
  std::vector<float> x(16, 1.f), y(16);
  const void* inputs[] = {x.data()};
  void* outputs[] = {y.data()};
  plan->sums.back().crc ^= 1;  // parameters themselves are verified in every run
  const int64_t runs = session.scrub_runs();
  REQUIRE(plan->steps[4].packed_at > plan->steps[4].params_at);
  REQUIRE(runs > 2);
  int64_t found = 0, first = 0;
  for (int64_t k = 1; k <= 2 * runs + 2; ++k) {
    session.run(inputs, outputs);
    found += !session.findings().empty();
    if (found && !first) first = k;
  }
  CHECK(first > 1);
  CHECK(found >= 2);
  CHECK(found <= 3);
}
