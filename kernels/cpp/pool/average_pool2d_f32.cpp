// average_pool2d_f32: the mean of every window, x[N,H,W,C] → y[N,OH,OW,C]. The divisor counts the taps inside the
// image, with count_include_pad = 1 also those inside the pads; taps beyond the pads (ceil_mode) never count. No tap at
// all: NaN. Accuracy: taps · eps · Σ|x| / count.
#include "window.h"

EDGERUN_ISA_BEGIN
namespace {
struct Params {
  Window window;
  bool include;
};
struct Mean {
  vf count;
  EDGERUN_INLINE vf start() const { return zero(); }
  EDGERUN_INLINE vf tap(vf acc, vf x) const { return add(acc, x); }
  EDGERUN_INLINE vf finish(vf acc) const { return div(acc, count); }
};
Status resolve(const Request& r, Params* p) {
  EDGERUN_TRY(window_of(r, &p->window));
  p->include = r.attrs.i("count_include_pad") != 0;
  return Status::ok;
}
Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, &p));
  need_window(r, p.window, need);
  need->params = sizeof p;
  return Status::ok;
}
Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Params*>(params)); }
void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const Window& w = p.window;
  pool_rows(w, r, [&p, &w](int64_t ih, int64_t iw, Taps rows, Taps columns) {
    int64_t count = rows.count() * columns.count();
    if (p.include)
      count = taps_in(ih, w.kh, w.dh, -w.top, w.h + w.bottom).count() *
              taps_in(iw, w.kw, w.dw, -w.left, w.w + w.right).count();
    return Mean{broadcast(static_cast<float>(count))};
  });
}
}  // namespace
extern const Kernel average_pool2d_f32_kernel{"average_pool2d_f32", query, prepare, run};
EDGERUN_ISA_END
