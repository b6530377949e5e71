#include "thread_pool.h"

#include <pthread.h>

#include <chrono>
#include <map>
#include <utility>

#include "topology.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace edgerun {
namespace {

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__) || defined(__arm__)
  asm volatile("yield");
#endif
}

// Spins until `ready` or the time is up; looks at the clock now and then only. True when ready.
template <class Ready>
bool spin(int64_t microseconds, bool yield, const Ready& ready) {
  if (ready()) return true;
  if (microseconds <= 0) return false;
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  do {
    for (int k = 0; k < 64; ++k) {
      if (ready()) return true;
      pause();
    }
    if (yield) std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

std::atomic<uint32_t> generation{0};  // counts the forks this process descends from

constexpr int32_t kSpinInRun = 10;  // waits inside a run may last this many times longer than after it

}  // namespace

std::shared_ptr<ThreadPool> ThreadPool::get(int32_t threads, int32_t spin_us) {
  static std::mutex mutex;
  static std::map<std::pair<int32_t, int32_t>, std::weak_ptr<ThreadPool>> pools;
  const std::lock_guard<std::mutex> lock(mutex);
  std::weak_ptr<ThreadPool>& entry = pools[{threads, spin_us}];
  std::shared_ptr<ThreadPool> pool = entry.lock();
  if (pool && !pool->lost()) return pool;
  static const int registered = pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1); });
  (void)registered;
  pool.reset(new ThreadPool(threads, spin_us), [](ThreadPool* p) {
    if (!p->lost()) delete p;  // in a forked child its threads are gone and its condition variables still count them
  });
  entry = pool;
  return pool;
}

bool ThreadPool::lost() const { return generation_ != generation.load(std::memory_order_relaxed); }

ThreadPool::ThreadPool(int32_t threads, int32_t spin_us)
    : threads_(threads), spin_us_(spin_us), crowded_(threads > usable_cpus()), generation_(generation.load()) {
  try {
    for (int32_t t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
  } catch (...) {  // the system grants no more threads: those that run must end before their owner does
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_.store(true);
    wakes_.fetch_add(1);
  }
  work_ready_.notify_all();
  for (std::thread& w : workers_) w.join();
}

void ThreadPool::release() {
  in_run_.store(false, std::memory_order_relaxed);
  taken_.store(false, std::memory_order_release);
}

void ThreadPool::wake() {
  in_run_.store(true, std::memory_order_relaxed);
  wakes_.fetch_add(1);
  if (sleepers_.load()) {
    { const std::lock_guard<std::mutex> lock(mutex_); }  // a worker between its last look and its wait holds it
    work_ready_.notify_all();
  }
}

void ThreadPool::run(Chunk call, const void* job, int32_t chunks) {
  call_ = call;
  job_ = job;
  total_ = static_cast<uint32_t>(chunks);
  done_.store(0, std::memory_order_relaxed);
  const uint64_t all = static_cast<uint64_t>(total_);
  ticket_.store(static_cast<uint64_t>(++epoch_) << 32 | uint64_t{1} << 16 | all);  // chunk 0 is the leader's
  if (sleepers_.load()) {
    { const std::lock_guard<std::mutex> lock(mutex_); }
    work_ready_.notify_all();
  }
  uint32_t mine = 0;
  int32_t chunk = 0;
  uint64_t ticket = 0;
  do {
    call(job, chunk, 0);
    ++mine;
  } while (claim(&ticket, &chunk));
  if (done_.fetch_add(mine, std::memory_order_acq_rel) + mine == total_) return;
  const auto finished = [&] { return done_.load(std::memory_order_acquire) == total_; };
  if (spin(int64_t{spin_us_} * kSpinInRun, crowded_, finished)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  leader_sleeps_.store(true);
  work_done_.wait(lock, [&] { return done_.load() == total_; });
  leader_sleeps_.store(false, std::memory_order_relaxed);
}

bool ThreadPool::claim(uint64_t* ticket, int32_t* chunk) {
  uint64_t t = ticket_.load(std::memory_order_acquire);
  for (;;) {
    const uint64_t next = t >> 16 & 0xFFFF, all = t & 0xFFFF;
    *ticket = t;
    if (next >= all) return false;
    if (ticket_.compare_exchange_weak(t, t + (uint64_t{1} << 16), std::memory_order_acq_rel, std::memory_order_acquire)) {
      *chunk = static_cast<int32_t>(next);
      return true;
    }
  }
}

void ThreadPool::work(int32_t thread) {
  uint32_t wakes = wakes_.load();
  for (;;) {
    uint64_t ticket;
    int32_t chunk;
    while (claim(&ticket, &chunk)) {
      const uint32_t total = total_;
      call_(job_, chunk, thread);
      if (done_.fetch_add(1) + 1 == total && leader_sleeps_.load()) {
        { const std::lock_guard<std::mutex> lock(mutex_); }
        work_done_.notify_all();
      }
    }
    const auto changed = [&] { return ticket_.load() != ticket || stop_.load(std::memory_order_relaxed); };
    const auto over = [&] { return changed() || !in_run_.load(std::memory_order_relaxed); };
    spin(int64_t{spin_us_} * kSpinInRun, crowded_, over);  // returns at once between runs
    if (spin(spin_us_, crowded_, changed)) {
      if (stop_.load()) return;
      continue;
    }
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1);
    work_ready_.wait(lock, [&] { return changed() || wakes_.load() != wakes; });
    sleepers_.fetch_sub(1);
    wakes = wakes_.load();
    if (stop_.load()) return;
  }
}

}  // namespace edgerun
