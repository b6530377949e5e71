// split: cuts x along `axis` into n outputs whose sizes are the outputs' own. Any dtype by element size.
#include "runs.h"

EDGERUN_ISA_BEGIN
namespace {
template <class T> struct Split {
  static Status query(const Request& r, Need* need) {
    if (r.n_in != 1) return Status::bad_arity;
    EDGERUN_TRY(plan_runs(r, sizeof(T), r.in[0], r.out, r.n_out, nullptr));
    need_runs(r, r.in[0], r.n_out, need);
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    return plan_runs(r, sizeof(T), r.in[0], r.out, r.n_out, static_cast<Runs*>(params));
  }
  static void run(const Run& r) {
    const Runs& p = *static_cast<const Runs*>(r.params);
    const T* x = r.in[0].as<const T>();
    for (int64_t k = 0, at = 0; k < p.count; at += p.part()[k++]) {
      T* y = r.out[k].as<T>();
      const int64_t n = p.part()[k];
      if (n == 0) continue;
      for (int64_t u = r.begin; u < r.end; ++u)
        copy_run(reinterpret_cast<char*>(y + u * n), reinterpret_cast<const char*>(x + u * p.whole + at),
                 static_cast<size_t>(n) * sizeof(T));
    }
  }
};
}  // namespace
#define EDGERUN_SPLIT(OP, SUFFIX, T) \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, Split<T>::query, Split<T>::prepare, Split<T>::run};
EDGERUN_SPLIT(split, x8, uint8_t)
EDGERUN_SPLIT(split, x16, uint16_t)
EDGERUN_SPLIT(split, x32, uint32_t)
EDGERUN_SPLIT(split, x64, uint64_t)
EDGERUN_ISA_END
