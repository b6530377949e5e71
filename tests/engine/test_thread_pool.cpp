// The pool under stress: many small jobs, sleeping and waking, more threads than cores, several pools at once.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "thread_pool.h"
#include "topology.h"

using edgerun::ThreadPool;

namespace {

struct Job {
  std::vector<int>* done;  // per chunk; not atomic: the pool must order the leader's reads after it
  int value;
};

void fill(const void* job, int32_t chunk, int32_t) {
  const Job& j = *static_cast<const Job*>(job);
  (*j.done)[static_cast<size_t>(chunk)] = j.value;
}

void stress(int32_t threads, int32_t spin_us, int runs, int jobs) {
  const auto pool = ThreadPool::get(threads, spin_us);
  std::vector<int> done(64);
  int value = 0;
  for (int run = 0; run < runs; ++run) {
    while (!pool->try_acquire()) std::this_thread::yield();
    pool->wake();
    for (int k = 0; k < jobs; ++k) {
      const auto chunks = static_cast<int32_t>(2 + (run + k) % 60);
      const Job job{&done, ++value};
      pool->run(fill, &job, chunks);
      for (int32_t c = 0; c < chunks; ++c) REQUIRE(done[static_cast<size_t>(c)] == value);
    }
    pool->release();
    if (run % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));  // let workers fall asleep
  }
}

}  // namespace

TEST_CASE("every chunk runs once and is seen by the leader") { stress(3, 20, 200, 50); }
TEST_CASE("without spinning") { stress(2, 0, 200, 20); }
TEST_CASE("more threads than cores") { stress(edgerun::usable_cpus() * 4, 10, 50, 20); }

TEST_CASE("several leaders share one pool by turns and others have their own") {
  std::vector<std::thread> leaders;
  for (int k = 0; k < 4; ++k) leaders.emplace_back([k] { stress(2 + k % 2, 15, 60, 20); });
  for (auto& t : leaders) t.join();
}

TEST_CASE("pools come and go") {
  for (int k = 0; k < 50; ++k) stress(4, k % 3, 1, 3);
}

TEST_CASE("a pool is shared by its settings and taken by one leader") {
  const auto a = ThreadPool::get(2, 30), b = ThreadPool::get(2, 30), c = ThreadPool::get(3, 30);
  CHECK(a.get() == b.get());
  CHECK(a.get() != c.get());
  CHECK(a->try_acquire());
  CHECK_FALSE(b->try_acquire());
  a->release();
  CHECK(b->try_acquire());
  b->release();
}

TEST_CASE("the default number of threads is possible") {
  CHECK(edgerun::default_threads() >= 1);
  CHECK(edgerun::default_threads() <= edgerun::usable_cpus());
}
