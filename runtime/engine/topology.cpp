#include "topology.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <thread>
#include <utility>

#ifdef __linux__
#include <sched.h>
#endif

namespace edgerun {
namespace {

#ifdef __linux__
long read_number(const char* path, long fallback) {
  std::FILE* f = std::fopen(path, "r");
  if (!f) return fallback;
  long v = fallback;
  if (std::fscanf(f, "%ld", &v) != 1) v = fallback;
  std::fclose(f);
  return v;
}

// Whole CPUs that the quota pays for; a very large number without a quota.
int quota_cpus() {
  double quota = -1, period = 100000;
  if (std::FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {  // cgroup v2: "max 100000" or "150000 100000"
    if (std::fscanf(f, "%lf %lf", &quota, &period) != 2) quota = -1;
    std::fclose(f);
  } else {
    quota = static_cast<double>(read_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1));
    period = static_cast<double>(read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us", 100000));
  }
  return quota > 0 && period > 0 ? std::max(1, static_cast<int>(std::ceil(quota / period))) : 1 << 20;
}
#endif

}  // namespace

int usable_cpus() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int default_threads() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return usable_cpus();
  std::set<std::pair<long, long>> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &set)) continue;
    char path[128];
    std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/core_id", cpu);
    const long core = read_number(path, cpu);
    std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
    cores.insert({read_number(path, 0), core});
  }
  return std::max(1, std::min(static_cast<int>(cores.size()), quota_cpus()));
#else
  return usable_cpus();
#endif
}

}  // namespace edgerun
