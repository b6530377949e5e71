// concat: joins 1..n tensors along `axis`. Any dtype by element size.
#include "runs.h"

EDGERUN_ISA_BEGIN
namespace {
template <class T> struct Concat {
  static Status query(const Request& r, Need* need) {
    if (r.n_out != 1) return Status::bad_arity;
    EDGERUN_TRY(plan_runs(r, sizeof(T), r.out[0], r.in, r.n_in, nullptr));
    need_runs(r, r.out[0], r.n_in, need);
    return Status::ok;
  }
  static Status prepare(const Request& r, void* params, void*) {
    return plan_runs(r, sizeof(T), r.out[0], r.in, r.n_in, static_cast<Runs*>(params));
  }
  static void run(const Run& r) {
    const Runs& p = *static_cast<const Runs*>(r.params);
    T* y = r.out[0].as<T>();
    for (int64_t k = 0, at = 0; k < p.count; at += p.part()[k++]) {
      const T* x = r.in[k].as<const T>();
      const int64_t n = p.part()[k];
      if (n == 0) continue;
      for (int64_t u = r.begin; u < r.end; ++u)
        copy_run(reinterpret_cast<char*>(y + u * p.whole + at), reinterpret_cast<const char*>(x + u * n),
                 static_cast<size_t>(n) * sizeof(T));
    }
  }
};
}  // namespace
#define EDGERUN_CONCAT(OP, SUFFIX, T) \
  extern const Kernel OP##_##SUFFIX##_kernel{#OP "_" #SUFFIX, Concat<T>::query, Concat<T>::prepare, Concat<T>::run};
EDGERUN_CONCAT(concat, x8, uint8_t)
EDGERUN_CONCAT(concat, x16, uint16_t)
EDGERUN_CONCAT(concat, x32, uint32_t)
EDGERUN_CONCAT(concat, x64, uint64_t)
EDGERUN_ISA_END
