// A pool that shares out the chunks of one step at a time. The leader (the thread that runs the plan) works along and can
// finish every chunk alone, so a worker that is late, asleep or gone (after fork) never holds up or breaks a run.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "kernel.h"

namespace edgerun {

class ThreadPool {
 public:
  // One chunk of the current job: `thread` is 0 for the leader, 1 .. threads-1 for workers.
  using Chunk = void (*)(const void* job, int32_t chunk, int32_t thread);

  // Pools are shared by sessions that want the same number of threads and spin time.
  static std::shared_ptr<ThreadPool> get(int32_t threads, int32_t spin_us);

  ThreadPool(int32_t threads, int32_t spin_us);
  ~ThreadPool();
  void stop();  // ends and joins the workers
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int32_t threads() const { return threads_; }
  // The process was forked since: the threads are not here. Get another pool.
  bool lost() const;
  // One leader at a time; a session that finds the pool taken runs on its own thread alone.
  bool try_acquire() { return !taken_.exchange(true, std::memory_order_acquire); }
  void release();
  // Begin of a run: wakes sleeping workers so that they are spinning when the first parallel step comes.
  void wake();
  // Runs chunks [0, chunks) of `job`, returns when all are done. Only the leader calls this; chunks <= 65535.
  void run(Chunk, const void* job, int32_t chunks);

 private:
  void work(int32_t thread);
  bool claim(uint64_t* ticket, int32_t* chunk);

  const int32_t threads_, spin_us_;
  const bool crowded_;  // more threads than CPUs: spinning would steal the leader's time
  const uint32_t generation_;
  Chunk call_ = nullptr;      // written by the leader while no chunk is claimed, read after claiming one
  const void* job_ = nullptr;
  uint32_t epoch_ = 0;
  uint32_t total_ = 0;
  alignas(kCacheLine) std::atomic<uint64_t> ticket_{0};  // epoch << 32 | next chunk << 16 | chunks
  alignas(kCacheLine) std::atomic<uint32_t> done_{0};
  alignas(kCacheLine) std::atomic<uint32_t> wakes_{0};
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> leader_sleeps_{false}, taken_{false}, stop_{false}, in_run_{false};
  std::mutex mutex_;
  std::condition_variable work_ready_, work_done_;
  std::vector<std::thread> workers_;
};

}  // namespace edgerun
