// Chooses the best instruction set this CPU has among those compiled in. Compiled for the baseline only.
#include <cstdlib>
#include <cstring>

#include "kernel.h"

#define EDGERUN_DECLARE(isa) \
  namespace edgerun::isa { const Kernel* const* entries(int32_t*); }
#ifdef EDGERUN_HAS_avx512
EDGERUN_DECLARE(avx512)
#endif
#ifdef EDGERUN_HAS_avx2
EDGERUN_DECLARE(avx2)
#endif
#ifdef EDGERUN_HAS_sse2
EDGERUN_DECLARE(sse2)
#endif
#ifdef EDGERUN_HAS_neon
EDGERUN_DECLARE(neon)
#endif
#ifdef EDGERUN_HAS_generic
EDGERUN_DECLARE(generic)
#endif

namespace edgerun {
namespace {

struct Tables {
  KernelTable all[4];
  int32_t count = 0;
  int32_t chosen = 0;

  void add(const char* isa, const Kernel* const* (*get)(int32_t*)) {
    KernelTable& t = all[count++];
    t.isa = isa;
    t.kernels = get(&t.count);
  }

  Tables() {
#ifdef EDGERUN_HAS_avx512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      add("avx512", avx512::entries);
#endif
#ifdef EDGERUN_HAS_avx2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) add("avx2", avx2::entries);
#endif
#ifdef EDGERUN_HAS_sse2
    add("sse2", sse2::entries);
#endif
#ifdef EDGERUN_HAS_neon
    add("neon", neon::entries);
#endif
#ifdef EDGERUN_HAS_generic
    add("generic", generic::entries);
#endif
    const char* wanted = std::getenv("EDGERUN_ISA");
    for (int32_t k = 0; wanted && k < count; ++k)
      if (!std::strcmp(all[k].isa, wanted)) chosen = k;
  }
};

const Tables& tables() {
  static const Tables t;
  return t;
}

}  // namespace

const KernelTable& kernels() { return tables().all[tables().chosen]; }

int32_t supported_tables(const KernelTable** out, int32_t capacity) {
  const Tables& t = tables();
  for (int32_t k = 0; k < t.count && k < capacity; ++k) out[k] = &t.all[k];
  return t.count;
}

const Kernel* find_kernel(const KernelTable& t, const char* name) {
  for (int32_t k = 0; k < t.count; ++k)
    if (!std::strcmp(t.kernels[k]->name, name)) return t.kernels[k];
  return nullptr;
}

}  // namespace edgerun
