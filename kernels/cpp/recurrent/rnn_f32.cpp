// rnn_f32: h' = φ(xw + R h). Operands as in recurrent.h. clip bounds what φ sees. |error of one step| <= H eps Σ|R||h| before φ.
#include "recurrent.h"

EDGERUN_ISA_BEGIN
namespace {
struct Rnn {
  static constexpr int kStates = 1, kVectors = 2;  // h, the next h

  static Status resolve(const Request& r, Recurrent* p) {
    EDGERUN_TRY(arity(r, 4, 4, 2));
    return resolve_recurrent(r, 1, 1, kStates, "", p);
  }

  static void step(const Run&, const Recurrent& p, int64_t d, const float* x, const float* w, float* state) {
    float *h = state, *next = state + p.padded;
    for (int64_t k = 0; k < p.padded; k += kLanes, w += kLanes * p.padded) {
      const int n = static_cast<int>(least(kLanes, p.hidden - k));
      vf g[1];
      gates_of<1>(w, h, p.padded, g);
      store_partial(next + k, squash(p.act[d], p.clip, add(g[0], load_partial(x + k, n))), n);
    }
    memcpy(h, next, static_cast<size_t>(p.hidden) * sizeof(float));
  }
};

Status query(const Request& r, Need* need) {
  Recurrent p;
  EDGERUN_TRY(Rnn::resolve(r, &p));
  need_recurrent(p, Rnn::kVectors, need);
  need->params = sizeof p;
  return Status::ok;
}
Status prepare(const Request& r, void* params, void* packed) {
  Recurrent& p = *static_cast<Recurrent*>(params);
  EDGERUN_TRY(Rnn::resolve(r, &p));
  float* out = static_cast<float*>(packed);
  for (int64_t d = 0; d < p.directions; ++d)
    out = pack_gates(p, r.in[1].as<const float>() + d * p.hidden * p.hidden, 0, 1, out);
  return Status::ok;
}
}  // namespace
extern const Kernel rnn_f32_kernel{"rnn_f32", query, prepare, run_recurrent<Rnn>};
EDGERUN_ISA_END
