// Faults put into a running session, and what it does about them: through the C interface where that has it.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <thread>

#include "edgerun.h"
#include "plan_builder.h"
#include "session.h"

using namespace edgerun;
using namespace edgerun::test;

namespace {

constexpr uint64_t kBit = 0x40000000u;

std::shared_ptr<const Plan> load(const Bytes& bytes) {
  std::shared_ptr<Plan> plan = read_plan(bytes.data(), bytes.size(), false);
  prepare_plan(*plan);
  return plan;
}

SessionOptions options(Reaction reaction, int32_t threads = 1) {
  SessionOptions o;
  o.threads = threads;
  o.reaction = reaction;
  return o;
}

std::vector<float> wave(size_t n) {
  std::vector<float> x(n);
  for (size_t k = 0; k < n; ++k) x[k] = std::sin(static_cast<float>(k) * 0.7f);
  return x;
}

struct Answer {
  std::vector<float> y;
  RunError error;
};

Answer run(Session& s, const std::vector<float>& x, size_t outputs = 1) {
  Answer a{std::vector<float>(x.size(), -7.f), {}};
  std::vector<void*> out(outputs, nullptr);
  out.back() = a.y.data();
  const void* in[] = {x.data()};
  a.error = s.run(in, out.data());
  return a;
}

std::vector<float> relu(std::vector<float> x) {
  for (float& v : x) v = v < 0 ? 0 : v;
  return x;
}

// x[1,64] times a constant [64,64], with the checksum; then relu. So large that the middle of what is packed is weights.
PlanBuilder product() {
  PlanBuilder b;
  b.arena_bytes = 512;
  std::vector<float> w(64 * 64);
  for (size_t k = 0; k < w.size(); ++k) w[k] = static_cast<float>(k % 7) - 3;
  const auto x = b.slot("x", 0, {1, 64}, PlanBuilder::input, 0);
  const auto c = b.slot("w", 0, {64, 64}, PlanBuilder::constant, b.constant_of(w.data(), w.size() * sizeof w[0]));
  const auto a = b.slot("a", 0, {1, 64}, PlanBuilder::arena, 0);
  const auto y = b.slot("y", 0, {1, 64}, PlanBuilder::arena, 256);
  b.in(x);
  b.step("matmul_f32", {x, c}, {a}, {{"abft", {1}}}, true);
  b.check("abft");
  b.step("relu_f32", {a}, {y}, {}, true);
  b.out(y);
  return b;
}

// x[1,4] -> relu (exit 0) -> relu (exit 1).
PlanBuilder two_exits() {
  PlanBuilder b;
  b.arena_bytes = 128;
  const auto x = b.slot("x", 0, {1, 4}, PlanBuilder::input, 0);
  const auto a = b.slot("a", 0, {1, 4}, PlanBuilder::arena, 0);
  const auto y = b.slot("b", 0, {1, 4}, PlanBuilder::arena, 64);
  b.in(x);
  b.step("relu_f32", {x}, {a}, {}, true);
  b.step("exit", {}, {}, {{"index", {0}}});
  b.step("relu_f32", {a}, {y}, {}, true);
  b.exit(a, true, 1);
  b.exit(y, true, 3);
  b.policy(0, {});
  b.out(a);
  b.out(y);
  return b;
}

}  // namespace

TEST_CASE("a transient fault is corrected, on any number of threads") {
  for (const Reaction reaction : {Reaction::retry, Reaction::abort, Reaction::exit_early})
    for (int32_t threads : {1, 3}) {
      CAPTURE(threads);
      Session s(load(relu_chain(30000, 3).bytes()), options(reaction, threads));
      const auto x = wave(30000);
      REQUIRE(s.arm({Site::result, 1, 12345, kBit}) == "");
      CHECK(run(s, x).y == relu(x));
      REQUIRE(s.findings().size() == 1);
      CHECK(s.findings()[0].step == 1);
      CHECK(s.findings()[0].action == Action::corrected);
      CHECK_FALSE(s.findings()[0].permanent);
      CHECK(s.info().reruns == 0);
      CHECK(run(s, x).y == relu(x));
      CHECK(s.findings().empty());
    }
}

TEST_CASE("a permanent fault: one more run, then what the reaction says") {
  Session retry(load(relu_chain(3000, 3).bytes()), options(Reaction::retry, 2));
  const auto x = wave(3000);
  REQUIRE(retry.arm({Site::result, 1, 123, kBit, Fault::Mode::flip, 5}) == "");
  CHECK(run(retry, x).error.step == -1);
  CHECK(retry.info().reruns == 1);
  CHECK(retry.info().steps_run == 5);
  REQUIRE(retry.findings().size() >= 2);
  CHECK(retry.findings()[0].action == Action::rerun);
  CHECK(retry.findings()[1].action == Action::reported);
  CHECK(retry.findings()[1].permanent);
  retry.heal();
  CHECK(run(retry, x).y == relu(x));
  CHECK(retry.findings().empty());

  Session abort(load(relu_chain(3000, 3).bytes()), options(Reaction::abort));
  REQUIRE(abort.arm({Site::result, 1, 123, kBit, Fault::Mode::flip, 5}) == "");
  const Answer a = run(abort, x);
  CHECK(a.error.fault);
  CHECK(a.error.step == 1);
  CHECK(a.y[0] == -7.f);
  CHECK(abort.findings().back().action == Action::aborted);
}

TEST_CASE("exit early gives the exit before the fault") {
  Session s(load(two_exits().bytes()), options(Reaction::exit_early));
  const std::vector<float> x = {1, -2, 3, 4};
  REQUIRE(s.arm({Site::result, 2, 0, kBit, Fault::Mode::flip, 5}) == "");
  CHECK(run(s, x, 2).y[0] == -7.f);
  CHECK(s.info().exit_index == 0);
  CHECK(s.output_ready(0));
  CHECK_FALSE(s.output_ready(1));
  CHECK(s.scores().size() == 1);
  REQUIRE(s.arm({Site::result, 0, 0, kBit, Fault::Mode::flip, 5}) == "");
  CHECK(run(s, x, 2).error.fault);
}

TEST_CASE("struck weights are prepared again, and sessions of one plan may do so at once") {
  const auto plan = load(product().bytes());
  const auto x = wave(64);
  Session clean(plan, options(Reaction::flag)), other(plan, options(Reaction::retry));
  const auto want = run(clean, x).y;
  {
    Session s(plan, options(Reaction::retry));
    const int64_t middle = s.sites(0)[Site::weights] / 2 | 3;
    for (int64_t at = middle; at < middle + 64; at += 4) REQUIRE(s.arm({Site::weights, 0, at, 0x40}) == "");
    CHECK(run(clean, x).y != want);
    CHECK(run(s, x).y == want);
    REQUIRE(s.findings().size() == 1);
    CHECK(s.findings()[0].action == Action::restored);
    CHECK(s.findings()[0].permanent);
    CHECK(run(clean, x).y == want);
    for (int64_t at = middle; at < middle + 64; at += 4) REQUIRE(s.arm({Site::weights, 0, at, 0x40}) == "");
    std::thread both([&] { run(other, x); });
    run(s, x);
    both.join();
    CHECK(run(s, x).y == want);
    for (int64_t at = middle; at < middle + 64; at += 4) REQUIRE(s.arm({Site::weights, 0, at, 0x40}) == "");
    CHECK(run(clean, x).y != want);
  }  // a session that is gone has healed its plan
  CHECK(run(clean, x).y == want);
}

TEST_CASE("bits are flipped, set and cleared") {
  Session s(load(relu_chain(8, 1).bytes()), options(Reaction::flag));
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8};
  for (const Site site : {Site::result, Site::buffer}) {
    const int64_t index = site == Site::result ? 2 : 8;
    REQUIRE(s.arm({site, 0, index, 0x00800000u, Fault::Mode::flip}) == "");
    CHECK(run(s, x).y[2] == 6.f);  // 3 = 0x40400000
    REQUIRE(s.arm({site, 0, index, 0x00800000u, Fault::Mode::clear}) == "");
    CHECK(run(s, x).y[2] == 3.f);
    REQUIRE(s.arm({site, 0, index, 0x00C00000u, Fault::Mode::set}) == "");
    CHECK(run(s, x).y[2] == 6.f);
    REQUIRE(s.arm({site, 0, index, 0x40000000u, Fault::Mode::clear}) == "");
    CHECK(run(s, x).y[2] < 1e-37f);
  }
}

TEST_CASE("masks that reach beyond an operand are cut; bytes outside are refused") {
  PlanBuilder b;
  b.arena_bytes = 64;
  const auto x = b.slot("x", 0, {1, 1}, PlanBuilder::input, 0);
  const auto z = b.slot("z", 0, {1, 1}, PlanBuilder::input, 1);
  const auto y = b.slot("y", 0, {1, 1}, PlanBuilder::arena, 0);
  b.in(x);
  b.in(z);
  b.step("add_f32", {x, z}, {y});
  b.out(y);
  Session s(load(b.bytes()), options(Reaction::flag));
  const float u[] = {1, 99}, v[] = {2, 99};  // what lies behind is not the session's
  float sum = 0;
  const void* in[] = {u, v};
  void* out[] = {&sum};
  REQUIRE(s.arm({Site::input, 0, 0, 0x4000000000800000u}) == "");
  s.run(in, out);
  CHECK(sum == 2.5f);  // 1 became 0.5; the mask's upper half is cut, not carried on to z
  CHECK(u[0] == 1.f);
  CHECK(u[1] == 99.f);
  REQUIRE(s.arm({Site::input, 0, 7, 0x40}) == "");
  s.run(in, out);
  CHECK(sum == 1.f);
  CHECK(s.arm({Site::input, 0, 7, 0x4000}).find("index: expected 0 to 6") != std::string::npos);
  CHECK(s.arm({Site::weights, 0, 0, 1}).find("there is none") != std::string::npos);
  CHECK(s.arm({Site::buffer, 1, 0, 1}).find("step: expected 0 to 0") != std::string::npos);
  CHECK(s.arm({Site::result, 0, 0, uint64_t{1} << 40}).find("mask") != std::string::npos);
  CHECK(s.arm({Site::result, 0, 0, 1, Fault::Mode::flip, 0}).find("runs") != std::string::npos);
  CHECK(s.capture(5).find("capture: step") != std::string::npos);
}

TEST_CASE("a read-only plan's constants are left alone") {
  const Bytes bytes = product().bytes();
  const Block aligned(bytes.size());
  std::memcpy(aligned.data(), bytes.data(), bytes.size());
  std::shared_ptr<Plan> plan = read_plan(aligned.data(), bytes.size(), true);
  prepare_plan(*plan);
  Session s(plan, options(Reaction::flag));
  CHECK(s.arm({Site::constants, 0, 0, 1}).find("must not be written") != std::string::npos);
  CHECK(std::memcmp(aligned.data(), bytes.data(), bytes.size()) == 0);
}

TEST_CASE("captured bytes are the step's, before a fault in its buffer") {
  Session s(load(relu_chain(4, 2).bytes()), options(Reaction::retry));
  const std::vector<float> x = {1, 2, 3, 4};
  REQUIRE(s.capture(0) == "");
  REQUIRE(s.arm({Site::buffer, 0, 3, 0x80}) == "");
  CHECK(run(s, x).y[0] == 0.f);  // -1 by then
  REQUIRE(s.captured().size() == 16);
  CHECK(std::memcmp(s.captured().data(), x.data(), 16) == 0);
  CHECK(run(s, x).y == x);
}

TEST_CASE("the C interface: options, status and findings") {
  const Bytes bytes = relu_chain(64, 2).bytes();
  edgerun_plan* plan = nullptr;
  REQUIRE(edgerun_plan_create(bytes.data(), bytes.size(), 0, &plan) == EDGERUN_OK);
  edgerun_session_options o{sizeof o, 1, 1, -1, 0, EDGERUN_REACTION_RESTRICT + 1};
  edgerun_session* s = nullptr;
  CHECK(edgerun_session_create(plan, &o, &s) == EDGERUN_INVALID_ARGUMENT);
  o.reaction = EDGERUN_REACTION_ABORT;
  REQUIRE(edgerun_session_create(plan, &o, &s) == EDGERUN_OK);
  auto x = wave(64);
  const void* in[] = {x.data()};
  void* out[] = {x.data()};
  REQUIRE(edgerun_session_arm_fault(s, 0, 3, 0x40000000u, 1) == EDGERUN_OK);
  CHECK(edgerun_session_run(s, in, 1, out, 1) == EDGERUN_OK);
  edgerun_finding f{};
  f.size = sizeof f;
  REQUIRE(edgerun_session_finding(s, 0, &f) == EDGERUN_OK);
  CHECK(f.action == EDGERUN_CORRECTED);
  CHECK(f.permanent == 0);
  REQUIRE(edgerun_session_arm_fault(s, 0, 3, 0x40000000u, 2) == EDGERUN_OK);
  CHECK(edgerun_session_run(s, in, 1, out, 1) == EDGERUN_FAULT);
  CHECK(std::string(edgerun_last_error()).find("step 0") != std::string::npos);
  edgerun_run_info info{};
  info.size = sizeof info;
  REQUIRE(edgerun_session_info(s, &info) == EDGERUN_OK);
  CHECK(info.reruns == 1);
  REQUIRE(edgerun_session_finding(s, 1, &f) == EDGERUN_OK);
  CHECK(f.action == EDGERUN_ABORTED);
  CHECK(f.permanent == 1);
  edgerun_session_destroy(s);
  edgerun_plan_destroy(plan);
}

TEST_CASE("faults and reactions in many sessions of one plan at once") {
  const auto plan = load(relu_chain(20000, 5).bytes());
  const auto x = wave(20000);
  const auto want = relu(x);
  std::atomic<int> wrong{0};
  std::vector<std::thread> users;
  for (int k = 0; k < 4; ++k)
    users.emplace_back([&, k] {
      Session s(plan, options(Reaction::retry, 1 + k % 3));
      for (int n = 0; n < 20; ++n) {
        wrong += s.arm({Site::result, n % 5, n * 100 + k, kBit}) != "";
        wrong += run(s, x).y != want;
        wrong += s.findings().size() != 1;
      }
    });
  for (auto& t : users) t.join();
  CHECK(wrong == 0);
}
