// How many cores a process may use.
#pragma once

namespace edgerun {

// Logical CPUs this process may run on (affinity mask), at least 1.
int usable_cpus();
// Physical cores among them, limited by the cgroup's CPU quota: the default number of threads, at least 1.
int default_threads();

}  // namespace edgerun
