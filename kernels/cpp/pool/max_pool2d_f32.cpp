// max_pool2d_f32: the largest value of every window, x[N,H,W,C] → y[N,OH,OW,C]. Padding is −inf; a NaN in the window
// wins. In ceil_mode (the output is larger by the planner's choice) a window may reach beyond the pads.
#include "window.h"

EDGERUN_ISA_BEGIN
namespace {
struct Largest {
  EDGERUN_INLINE vf start() const { return broadcast(-__builtin_inff()); }
  EDGERUN_INLINE vf tap(vf acc, vf x) const { return max_nan(x, acc); }
  EDGERUN_INLINE vf finish(vf acc) const { return acc; }
};
Status query(const Request& r, Need* need) {
  Window p;
  EDGERUN_TRY(window_of(r, &p));
  need_window(r, p, need);
  return Status::ok;
}
Status prepare(const Request& r, void* params, void*) { return window_of(r, static_cast<Window*>(params)); }
void run(const Run& r) {
  pool_rows(*static_cast<const Window*>(r.params), r, [](int64_t, int64_t, Taps, Taps) { return Largest{}; });
}
}  // namespace
extern const Kernel max_pool2d_f32_kernel{"max_pool2d_f32", query, prepare, run};
EDGERUN_ISA_END
