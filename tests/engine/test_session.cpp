// Running plans: answers, control flow, exits, faults, errors, threads. Every kernel here is also tested on its own.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "edgerun.h"
#include "plan_builder.h"

using namespace edgerun::test;

namespace {

struct PlanFree {
  void operator()(edgerun_plan* p) const { edgerun_plan_destroy(p); }
};
struct SessionFree {
  void operator()(edgerun_session* s) const { edgerun_session_destroy(s); }
};
using PlanPtr = std::unique_ptr<edgerun_plan, PlanFree>;
using SessionPtr = std::unique_ptr<edgerun_session, SessionFree>;

PlanPtr load(const Bytes& bytes) {
  edgerun_plan* plan = nullptr;
  const edgerun_status status = edgerun_plan_create(bytes.data(), bytes.size(), 0, &plan);
  INFO(edgerun_last_error());
  REQUIRE(status == EDGERUN_OK);
  return PlanPtr(plan);
}

SessionPtr open(const PlanPtr& plan, int threads = 1, int checks = 1) {
  edgerun_session* s = nullptr;
  const edgerun_session_options options{sizeof options, threads, checks, 20, 0, 0};
  REQUIRE(edgerun_session_create(plan.get(), &options, &s) == EDGERUN_OK);
  return SessionPtr(s);
}

edgerun_run_info info_of(const SessionPtr& s) {
  edgerun_run_info info{};
  info.size = sizeof info;
  REQUIRE(edgerun_session_info(s.get(), &info) == EDGERUN_OK);
  return info;
}

std::vector<float> wave(size_t n) {
  std::vector<float> x(n);
  for (size_t k = 0; k < n; ++k) x[k] = std::sin(static_cast<float>(k) * 0.7f);
  return x;
}

std::vector<float> run(const SessionPtr& s, const std::vector<float>& x) {
  std::vector<float> y(x.size(), -7.f);
  const void* in[] = {x.data()};
  void* out[] = {y.data()};
  REQUIRE(edgerun_session_run(s.get(), in, 1, out, 1) == EDGERUN_OK);
  return y;
}

std::vector<float> relu(std::vector<float> x) {
  for (float& v : x) v = v < 0 ? 0 : v;
  return x;
}

// x[1,4] -> relu -> exit 0 (slot a) -> relu -> exit 1 (slot b), both outputs.
PlanBuilder two_exits(double threshold) {
  PlanBuilder b;
  b.arena_bytes = 128;
  const auto x = b.slot("x", 0, {1, 4}, PlanBuilder::input, 0);
  const auto a = b.slot("a", 0, {1, 4}, PlanBuilder::arena, 0);
  const auto y = b.slot("b", 0, {1, 4}, PlanBuilder::arena, 64);
  b.in(x);
  b.step("relu_f32", {x}, {a});
  b.step("exit", {}, {}, {{"index", {0}}});
  b.step("relu_f32", {a}, {y});
  b.exit(a, true, 1);
  b.exit(y, true, 3);
  b.policy(1, {threshold});
  b.out(a);
  b.out(y);
  return b;
}

}  // namespace

TEST_CASE("a chain of steps gives the same bits on any number of threads") {
  const auto plan = load(relu_chain(50000, 7).bytes());
  const auto x = wave(50000);
  const auto expected = relu(x);
  for (int threads : {1, 2, 3, 8}) {
    CAPTURE(threads);
    const auto s = open(plan, threads);
    CHECK(edgerun_session_threads(s.get()) == threads);
    CHECK(run(s, x) == expected);
    const auto info = info_of(s);
    CHECK(info.steps_run == 7);
    CHECK(info.values_checked == 7 * 50000);
    CHECK(info.findings == 0);
    CHECK(info.exit_index == -1);
  }
}

TEST_CASE("a run that takes too long ends with a status, and the next one is whole again") {
  const auto plan = load(relu_chain(4 << 20, 40).bytes());
  const auto x = wave(4 << 20);
  for (int threads : {1, 2}) {
    CAPTURE(threads);
    edgerun_session* late = nullptr;
    const edgerun_session_options options{sizeof options, threads, 1, 20, 1000000, 0};
    REQUIRE(edgerun_session_create(plan.get(), &options, &late) == EDGERUN_OK);
    const SessionPtr s(late);
    std::vector<float> y(x.size(), -7.f);
    const void* in[] = {x.data()};
    void* out[] = {y.data()};
    CHECK(edgerun_session_run(late, in, 1, out, 1) == EDGERUN_TIMEOUT);
    CHECK(std::string(edgerun_last_error()).find("the time was over at Op") != std::string::npos);
    CHECK(info_of(s).steps_run < 40);
    CHECK(edgerun_session_output_ready(late, 0) == 0);
    CHECK(y[0] == -7.f);
  }
  CHECK(run(open(plan), x) == relu(x));
}

TEST_CASE("time enough: the pieces of a step give what the whole gives") {
  const auto plan = load(relu_chain(4 << 20, 3).bytes());
  const auto x = wave(4 << 20);
  edgerun_session* s = nullptr;
  const edgerun_session_options options{sizeof options, 1, 1, 20, int64_t{3600} * 1000000000, 0};
  REQUIRE(edgerun_session_create(plan.get(), &options, &s) == EDGERUN_OK);
  const SessionPtr owner(s);
  CHECK(run(owner, x) == relu(x));
  CHECK(info_of(owner).values_checked == 3 * (4 << 20));
}

TEST_CASE("checks off: nothing is verified") {
  const auto s = open(load(relu_chain(64, 2).bytes()), 1, 0);
  run(s, wave(64));
  CHECK(info_of(s).values_checked == 0);
}

TEST_CASE("many sessions of one plan run at once") {
  const auto plan = load(relu_chain(20000, 5).bytes());
  const auto x = wave(20000);
  const auto expected = relu(x);
  std::atomic<int> wrong{0};
  std::vector<std::thread> users;
  for (int k = 0; k < 4; ++k)
    users.emplace_back([&, k] {
      const auto s = open(plan, 1 + k % 3);
      for (int n = 0; n < 30; ++n) wrong += run(s, x) != expected;
    });
  for (auto& t : users) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("one session used from several threads") {
  const auto s = open(load(relu_chain(20000, 3).bytes()), 2);
  const auto x = wave(20000);
  const auto expected = relu(x);
  std::atomic<int> wrong{0};
  std::vector<std::thread> users;
  for (int k = 0; k < 3; ++k)
    users.emplace_back([&] {
      for (int n = 0; n < 20; ++n) wrong += run(s, x) != expected;
    });
  for (auto& t : users) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("branch and jump: only the taken side is computed") {
  PlanBuilder b;
  b.arena_bytes = 128;
  const auto c = b.slot("c", 12, {1}, PlanBuilder::input, 0);
  const auto x = b.slot("x", 0, {1, 4}, PlanBuilder::input, 1);
  const auto y = b.slot("y", 0, {1, 4}, PlanBuilder::arena, 0);
  b.in(c);
  b.in(x);
  b.step("branch", {c}, {}, {{"target", {3}}});
  b.step("relu_f32", {x}, {y});
  b.step("jump", {}, {}, {{"target", {4}}});
  b.step("add_f32", {x, x}, {y});
  b.out(y);
  const auto s = open(load(b.bytes()));
  const std::vector<float> v = {-1, 2, -3, 4};
  const uint8_t flags[2] = {0, 1};
  std::vector<float> y_out(4);
  void* out[] = {y_out.data()};
  const void* taken[] = {&flags[1], v.data()};
  REQUIRE(edgerun_session_run(s.get(), taken, 2, out, 1) == EDGERUN_OK);
  CHECK(y_out == relu(v));
  CHECK(info_of(s).steps_run == 3);
  const void* skipped[] = {&flags[0], v.data()};
  REQUIRE(edgerun_session_run(s.get(), skipped, 2, out, 1) == EDGERUN_OK);
  CHECK(y_out == std::vector<float>{-2, 4, -6, 8});
  CHECK(info_of(s).steps_run == 2);
}

TEST_CASE("an exit stops the run, and what comes after is never computed") {
  const auto s = open(load(two_exits(0.9).bytes()));
  const std::vector<float> sure = {9, 0, 0, 0}, unsure = {1, 1, 1, 1};
  std::vector<float> a(4), y(4, -7.f);
  void* out[] = {a.data(), y.data()};
  const void* in[] = {sure.data()};
  REQUIRE(edgerun_session_run(s.get(), in, 1, out, 2) == EDGERUN_OK);
  auto info = info_of(s);
  CHECK(info.exit_index == 0);
  CHECK(info.exit_count == 2);
  CHECK(info.exits_reached == 1);
  CHECK(info.steps_run == 2);
  CHECK(a == sure);
  CHECK(y == std::vector<float>(4, -7.f));
  CHECK(edgerun_session_output_ready(s.get(), 0) == 1);
  CHECK(edgerun_session_output_ready(s.get(), 1) == 0);
  double score = 0;
  int32_t predicted = -1;
  REQUIRE(edgerun_session_exit_score(s.get(), 0, &score, &predicted) == EDGERUN_OK);
  CHECK(score > 0.9);
  CHECK(predicted == 0);
  CHECK(edgerun_session_exit_score(s.get(), 1, &score, &predicted) == EDGERUN_INVALID_ARGUMENT);

  const void* other[] = {unsure.data()};
  REQUIRE(edgerun_session_run(s.get(), other, 1, out, 2) == EDGERUN_OK);
  info = info_of(s);
  CHECK(info.exit_index == 1);
  CHECK(info.exits_reached == 2);
  CHECK(y == unsure);
}

TEST_CASE("an armed fault is found once, at its step") {
  for (int threads : {1, 3}) {
    CAPTURE(threads);
    const auto s = open(load(relu_chain(30000, 3).bytes()), threads);
    const auto x = wave(30000);
    REQUIRE(edgerun_session_arm_fault(s.get(), 1, 12345, 0x40000000u, 1) == EDGERUN_OK);
    run(s, x);
    REQUIRE(info_of(s).findings == 1);
    edgerun_finding f{};
    f.size = sizeof f;
    REQUIRE(edgerun_session_finding(s.get(), 0, &f) == EDGERUN_OK);
    CHECK(f.step == 1);
    CHECK(f.flags != 0);
    CHECK(f.index <= 12345);
    CHECK(run(s, x) == relu(x));
    CHECK(info_of(s).findings == 0);
  }
}

TEST_CASE("a fault where nothing is checked changes the answer and reports nothing") {
  const auto s = open(load(relu_chain(64, 1).bytes()), 1, 0);
  const auto x = wave(64);
  REQUIRE(edgerun_session_arm_fault(s.get(), 0, 5, 0x40000000u, 1) == EDGERUN_OK);
  CHECK(run(s, x) != relu(x));
  CHECK(info_of(s).findings == 0);
}

TEST_CASE("faults that cannot be armed are refused") {
  const auto s = open(load(relu_chain(64, 1).bytes()));
  CHECK(edgerun_session_arm_fault(s.get(), 1, 0, 1, 1) == EDGERUN_INVALID_ARGUMENT);
  CHECK(edgerun_session_arm_fault(s.get(), 0, 64, 1, 1) == EDGERUN_INVALID_ARGUMENT);
  CHECK(edgerun_session_arm_fault(s.get(), -1, 0, 1, 1) == EDGERUN_INVALID_ARGUMENT);
}

TEST_CASE("findings beyond what is kept are counted") {
  const auto s = open(load(relu_chain(8, 400).bytes()));
  const std::vector<float> nan(8, NAN);
  run(s, nan);
  const auto info = info_of(s);
  CHECK(info.findings == 400);
  CHECK(info.findings_dropped == 400 - 256);
}

TEST_CASE("indices out of range are an error that names the step") {
  PlanBuilder b;
  b.arena_bytes = 64;
  const float table[6] = {1, 2, 3, 4, 5, 6};
  const auto t = b.slot("t", 0, {3, 2}, PlanBuilder::constant, b.constant_of(table, sizeof table));
  const auto i = b.slot("i", 10, {2}, PlanBuilder::input, 0);
  const auto y = b.slot("y", 0, {2, 2}, PlanBuilder::arena, 0);
  b.in(i);
  b.step("gather_x32", {t, i}, {y}, {{"axis", {0}}});
  b.out(y);
  const auto s = open(load(b.bytes()));
  std::vector<float> rows(4);
  void* out[] = {rows.data()};
  const int64_t good[2] = {-1, 0}, bad[2] = {0, 3};
  const void* in[] = {good};
  REQUIRE(edgerun_session_run(s.get(), in, 1, out, 1) == EDGERUN_OK);
  CHECK(rows == std::vector<float>{5, 6, 1, 2});
  in[0] = bad;
  CHECK(edgerun_session_run(s.get(), in, 1, out, 1) == EDGERUN_BAD_INDEX);
  CHECK(std::string(edgerun_last_error()).find("step 0") != std::string::npos);
}

TEST_CASE("wrong arguments are refused, older and newer callers served") {
  const auto plan = load(relu_chain(16, 1).bytes());
  const auto s = open(plan);
  const auto x = wave(16);
  const void* in[] = {x.data()};
  const void* none[] = {nullptr};
  CHECK(edgerun_session_run(s.get(), in, 2, nullptr, 0) == EDGERUN_INVALID_ARGUMENT);
  CHECK(edgerun_session_run(s.get(), none, 1, nullptr, 0) == EDGERUN_INVALID_ARGUMENT);
  CHECK(edgerun_session_run(nullptr, in, 1, nullptr, 0) == EDGERUN_INVALID_ARGUMENT);
  CHECK(edgerun_session_run(s.get(), in, 1, nullptr, 0) == EDGERUN_OK);
  CHECK(edgerun_plan_create(nullptr, 0, 0, nullptr) == EDGERUN_INVALID_ARGUMENT);
  edgerun_run_info info{};
  CHECK(edgerun_session_info(s.get(), &info) == EDGERUN_INVALID_ARGUMENT);
  info.size = sizeof(size_t) + 4;  // an older caller: only the first field
  info.exit_count = 77;
  CHECK(edgerun_session_info(s.get(), &info) == EDGERUN_OK);
  CHECK(info.exit_count == 77);
  edgerun_tensor_info t{};
  t.size = sizeof t;
  REQUIRE(edgerun_plan_input(plan.get(), 0, &t) == EDGERUN_OK);
  CHECK(t.bytes == 64);
  CHECK(t.dims[1] == 16);
  CHECK(edgerun_plan_input(plan.get(), 1, &t) == EDGERUN_INVALID_ARGUMENT);
}

TEST_CASE("profile and tune leave answers alone") {
  const auto s = open(load(relu_chain(40000, 3).bytes()), 2);
  const auto x = wave(40000);
  const void* in[] = {x.data()};
  int64_t ns[3] = {0, 0, 0};
  REQUIRE(edgerun_session_profile(s.get(), in, 1, ns, 3) == EDGERUN_OK);
  for (int64_t t : ns) CHECK(t > 0);
  REQUIRE(edgerun_session_tune(s.get(), in, 1, 3) == EDGERUN_OK);
  CHECK(run(s, x) == relu(x));
}

TEST_CASE("a session outlives the plan's handle") {
  SessionPtr s;
  {
    const auto plan = load(relu_chain(16, 1).bytes());
    s = open(plan);
  }
  CHECK(run(s, wave(16)) == relu(wave(16)));
}
