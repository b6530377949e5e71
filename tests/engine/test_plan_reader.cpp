// A hostile plan gives an error with a reason, never a crash (run under ASan and UBSan by tools/dev/sanitize).
#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <string>

#include "edgerun.h"
#include "plan_builder.h"

using namespace edgerun::test;

namespace {

edgerun_status load(const Bytes& bytes) {
  edgerun_plan* plan = nullptr;
  const edgerun_status status = edgerun_plan_create(bytes.data(), bytes.size(), 0, &plan);
  CHECK((plan != nullptr) == (status == EDGERUN_OK));
  if (status != EDGERUN_OK) CHECK(std::strlen(edgerun_last_error()) > 0);
  edgerun_plan_destroy(plan);
  return status;
}

// Loads and, where that works, runs with inputs of zeros.
void load_and_run(const Bytes& bytes) {
  edgerun_plan* plan = nullptr;
  if (edgerun_plan_create(bytes.data(), bytes.size(), 1, &plan) != EDGERUN_OK) return;
  std::vector<std::vector<char>> buffers;
  std::vector<const void*> inputs;
  bool small = true;
  for (size_t k = 0; k < edgerun_plan_input_count(plan); ++k) {
    edgerun_tensor_info info{};
    info.size = sizeof info;
    REQUIRE(edgerun_plan_input(plan, k, &info) == EDGERUN_OK);
    small = small && info.bytes < (1u << 20);
    buffers.emplace_back(small ? info.bytes + 1 : 1);
  }
  for (auto& b : buffers) inputs.push_back(b.data());
  edgerun_session* session = nullptr;
  edgerun_session_options options{sizeof options, 1, 1, 0, 0};
  if (small && edgerun_session_create(plan, &options, &session) == EDGERUN_OK)
    edgerun_session_run(session, inputs.data(), inputs.size(), nullptr, 0);
  edgerun_session_destroy(session);
  edgerun_plan_destroy(plan);
}

// Constants, a gather, control flow and an exit in one small plan.
PlanBuilder small_plan() {
  PlanBuilder b;
  b.arena_bytes = 320;
  const float table[6] = {1, 2, 3, 4, 5, 6};
  const uint8_t yes = 1;
  const auto constant = b.slot("table", 0, {3, 2}, PlanBuilder::constant, b.constant_of(table, sizeof table));
  const auto flag = b.slot("flag", 12, {}, PlanBuilder::constant, b.constant_of(&yes, 1));
  const auto x = b.slot("x", 10, {2}, PlanBuilder::input, 0);
  const auto rows = b.slot("rows", 0, {2, 2}, PlanBuilder::arena, 0);
  const auto y = b.slot("y", 0, {2, 2}, PlanBuilder::arena, 64);
  const auto z = b.slot("z", 0, {2, 2}, PlanBuilder::arena, 128);
  b.in(x);
  b.step("gather_x32", {constant, x}, {rows}, {{"axis", {0}}});
  b.step("relu_f32", {rows}, {y}, {}, true);
  b.step("exit", {}, {}, {{"index", {0}}});
  b.step("branch", {flag}, {}, {{"target", {5}}});
  b.step("jump", {}, {}, {{"target", {5}}});
  b.step("add_f32", {y, rows}, {z});
  b.exit(y, true, 2);
  b.exit(z, true, 6);
  b.policy(1, {0.5});
  b.out(y);
  b.out(z);
  return b;
}

}  // namespace

TEST_CASE("a sound plan loads and runs") {
  const Bytes plan = small_plan().bytes();
  INFO(edgerun_last_error());
  CHECK(load(plan) == EDGERUN_OK);
  load_and_run(plan);
}

TEST_CASE("every truncation is refused") {
  const Bytes whole = small_plan().bytes();
  for (size_t n = 0; n < whole.size(); ++n) {
    Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
    cut.reserve(n + 1);  // data() of an empty vector may be null
    REQUIRE(load(cut) == EDGERUN_BAD_PLAN);
  }
}

TEST_CASE("every flipped byte is noticed") {
  const Bytes whole = small_plan().bytes();
  for (size_t at = 0; at < whole.size(); ++at) {
    Bytes bad = whole;
    bad[at] = static_cast<char>(bad[at] ^ 0x41);
    REQUIRE(load(bad) == EDGERUN_BAD_PLAN);
  }
}

TEST_CASE_TEMPLATE("flips with a correct checksum never crash", Mask, std::integral_constant<int, 0x01>, std::integral_constant<int, 0x02>,
                   std::integral_constant<int, 0x04>, std::integral_constant<int, 0x10>, std::integral_constant<int, 0x80>,
                   std::integral_constant<int, 0xFF>) {
  const Bytes whole = small_plan().bytes();
  for (size_t at = 0; at < whole.size(); ++at) {
    Bytes bad = whole;
    bad[at] = static_cast<char>(bad[at] ^ Mask::value);
    seal(bad);
    load_and_run(bad);
  }
  CHECK(load(whole) == EDGERUN_OK);
}

TEST_CASE("defects are refused by name") {
  struct Case {
    const char* expected;
    std::function<void(PlanBuilder&)> spoil;
  };
  // One row a defect; doctest reports the row that fails.
  const Case cases[] = {
      {"is not in this build", [](PlanBuilder& b) { b.step("no_such_kernel", {0}, {3}); }},
      {"is not a slot", [](PlanBuilder& b) { b.step("relu_f32", {99}, {3}); }},
      {"is not a slot", [](PlanBuilder& b) { b.step("relu_f32", {3}, {-1}); }},
      {"not in the arena", [](PlanBuilder& b) { b.step("relu_f32", {3}, {0}); }},
      {"target after it", [](PlanBuilder& b) { b.step("jump", {}, {}, {{"target", {0}}}); }},
      {"target after it", [](PlanBuilder& b) { b.step("jump", {}, {}, {{"target", {8}}}); }},
      {"needs one integer", [](PlanBuilder& b) { b.step("jump", {}, {}); }},
      {"boolean scalar", [](PlanBuilder& b) { b.step("branch", {3}, {}, {{"target", {7}}}); }},
      {"no exit 7", [](PlanBuilder& b) { b.step("exit", {}, {}, {{"index", {7}}}); }},
      {"outside the arena", [](PlanBuilder& b) { b.slot("far", 0, {1000}, PlanBuilder::arena, 0); }},
      {"multiple of 64", [](PlanBuilder& b) { b.slot("odd", 0, {1}, PlanBuilder::arena, 4); }},
      {"too large", [](PlanBuilder& b) { b.slot("huge", 0, {int64_t{1} << 32, int64_t{1} << 32, 0}, PlanBuilder::arena, 0); }},
      {"negative dimension", [](PlanBuilder& b) { b.slot("minus", 0, {-1}, PlanBuilder::arena, 0); }},
      {"at most 8 dimensions", [](PlanBuilder& b) { b.slot("deep", 0, {1, 1, 1, 1, 1, 1, 1, 1, 1}, PlanBuilder::arena, 0); }},
      {"unknown dtype", [](PlanBuilder& b) { b.slot("odd", 13, {1}, PlanBuilder::arena, 0); }},
      {"at most its constant's", [](PlanBuilder& b) { b.slot("long", 0, {100}, PlanBuilder::constant, 0); }},
      {"at most its input's", [](PlanBuilder& b) { b.slot("long", 0, {100}, PlanBuilder::input, 0); }},
      {"number of its operands", [](PlanBuilder& b) { b.step("relu_f32", {}, {3}); }},
      {"thresholds", [](PlanBuilder& b) { b.policy(1, {}); }},
      {"policy kind", [](PlanBuilder& b) { b.policy(9, {0.5}); }},
      {"difficulty", [](PlanBuilder& b) { b.difficulty(3); b.difficulty(2); }},
  };
  for (const Case& c : cases) {
    CAPTURE(c.expected);
    PlanBuilder b = small_plan();
    c.spoil(b);
    CHECK(load(b.bytes()) == EDGERUN_BAD_PLAN);
    CHECK(std::string(edgerun_last_error()).find(c.expected) != std::string::npos);
    CAPTURE(edgerun_last_error());
  }
}

TEST_CASE("a borrowed buffer may lie at any address") {
  const Bytes plan = small_plan().bytes();
  for (size_t shift = 0; shift < 65; ++shift) {
    Bytes moved(plan.size() + shift);
    std::memcpy(moved.data() + shift, plan.data(), plan.size());
    edgerun_plan* p = nullptr;
    REQUIRE(edgerun_plan_create(moved.data() + shift, plan.size(), 1, &p) == EDGERUN_OK);
    edgerun_plan_destroy(p);
  }
}
