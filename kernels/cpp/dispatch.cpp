// Chooses the best instruction set this CPU has among those compiled in. Compiled for the baseline only.
#include <cstdlib>
#include <cstring>

#include "integrity/word_sum.h"

#if defined(EDGERUN_HAS_avxvnni)
#include <cpuid.h>
#elif defined(EDGERUN_HAS_neondot)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#ifndef HWCAP2_I8MM  // headers before Linux 5.6
#define HWCAP2_I8MM (1 << 13)
#endif
#endif

#define EDGERUN_DECLARE(isa) \
  namespace edgerun::isa { \
  const Kernel* const* entries(int32_t*); \
  void word_sum(const void*, size_t, uint64_t*); \
  }
#ifdef EDGERUN_HAS_avx512vnni
EDGERUN_DECLARE(avx512vnni)
#endif
#ifdef EDGERUN_HAS_avx512
EDGERUN_DECLARE(avx512)
#endif
#ifdef EDGERUN_HAS_avxvnni
EDGERUN_DECLARE(avxvnni)
#endif
#ifdef EDGERUN_HAS_avx2
EDGERUN_DECLARE(avx2)
#endif
#ifdef EDGERUN_HAS_sse2
EDGERUN_DECLARE(sse2)
#endif
#ifdef EDGERUN_HAS_neoni8mm
EDGERUN_DECLARE(neoni8mm)
#endif
#ifdef EDGERUN_HAS_neondot
EDGERUN_DECLARE(neondot)
#endif
#ifdef EDGERUN_HAS_neon
EDGERUN_DECLARE(neon)
#endif
#ifdef EDGERUN_HAS_generic
EDGERUN_DECLARE(generic)
#endif

namespace edgerun {
namespace {

#define EDGERUN_KERNEL(name) +1
constexpr int32_t kKernels = 0
#include "registry.inc"
    ;
#undef EDGERUN_KERNEL

[[maybe_unused]] bool has_avx_vnni() {
#ifdef EDGERUN_HAS_avxvnni
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1u);
#else
  return false;
#endif
}

struct Tables {
  KernelTable all[6];
  WordSum sums[6];
  int32_t count = 0;
  int32_t chosen = 0;
  const Kernel* merged[2][kKernels];
  int32_t n_merged = 0;

  static KernelTable table(const char* isa, const Kernel* const* (*get)(int32_t*)) {
    KernelTable t{isa, nullptr, 0};
    t.kernels = get(&t.count);
    return t;
  }

  // `base` with its kernels replaced by those of `get` of the same name.
  [[maybe_unused]] KernelTable over(const char* isa, const Kernel* const* (*get)(int32_t*), const KernelTable& base) {
    const KernelTable better = table(isa, get);
    const Kernel** list = merged[n_merged++];
    for (int32_t k = 0; k < base.count; ++k) {
      list[k] = base.kernels[k];
      for (int32_t i = 0; i < better.count; ++i)
        if (!std::strcmp(list[k]->name, better.kernels[i]->name)) list[k] = better.kernels[i];
    }
    return {isa, list, base.count};
  }

  void add(const KernelTable& t, WordSum sum) {
    sums[count] = sum;
    all[count++] = t;
  }

  Tables() {
#ifdef EDGERUN_HAS_avx512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      const KernelTable plain = table("avx512", avx512::entries);
#ifdef EDGERUN_HAS_avx512vnni
      if (__builtin_cpu_supports("avx512vnni")) add(over("avx512vnni", avx512vnni::entries, plain), avx512::word_sum);
#endif
      add(plain, avx512::word_sum);
    }
#endif
#ifdef EDGERUN_HAS_avx2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      const KernelTable plain = table("avx2", avx2::entries);
#ifdef EDGERUN_HAS_avxvnni
      if (has_avx_vnni()) add(over("avxvnni", avxvnni::entries, plain), avx2::word_sum);
#endif
      add(plain, avx2::word_sum);
    }
#endif
#ifdef EDGERUN_HAS_sse2
    add(table("sse2", sse2::entries), sse2::word_sum);
#endif
#ifdef EDGERUN_HAS_neon
    const KernelTable plain = table("neon", neon::entries);
#ifdef EDGERUN_HAS_neondot
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) {
      const KernelTable dot = over("neondot", neondot::entries, plain);
#ifdef EDGERUN_HAS_neoni8mm
      if (getauxval(AT_HWCAP2) & HWCAP2_I8MM) add(over("neoni8mm", neoni8mm::entries, dot), neon::word_sum);
#endif
      add(dot, neon::word_sum);
    }
#endif
    add(plain, neon::word_sum);
#endif
#ifdef EDGERUN_HAS_generic
    add(table("generic", generic::entries), generic::word_sum);
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

WordSum word_sum_of(const KernelTable& t) {
  const Tables& all = tables();
  int32_t k = 0;
  while (k < all.count - 1 && all.all[k].kernels != t.kernels) ++k;
  return all.sums[k];
}

const Kernel* find_kernel(const KernelTable& t, const char* name) {
  for (int32_t k = 0; k < t.count; ++k)
    if (!std::strcmp(t.kernels[k]->name, name)) return t.kernels[k];
  return nullptr;
}

}  // namespace edgerun
