// lstm_f32: i, o, f = σ(xw + R h + P ⊙ c), g = γ(xw + R h), c' = f ⊙ c + i ⊙ g, h' = o ⊙ η(c'); gates in the order i o f g,
// o sees c'. Operands as in recurrent.h, then c0 at 4 and the peepholes P[D, 3·H] (i o f) at 5; y_c follows y_h.
// input_forget: f = 1 − i. clip bounds what the gates' activations see. |error of one step| <= H eps Σ|R||h| before σ.
#include "recurrent.h"

EDGERUN_ISA_BEGIN
namespace {
struct Lstm {
  static constexpr int kStates = 2, kVectors = 3;  // h, c, the next h

  static Status resolve(const Request& r, Recurrent* p) {
    EDGERUN_TRY(arity(r, 6, 6, 3));
    EDGERUN_TRY(resolve_recurrent(r, 4, 3, kStates, "input_forget", p));
    if (!r.has(5)) return Status::ok;
    EDGERUN_TRY(sound(r.in[5], DType::f32));
    return r.in[5].elements() == p->directions * 3 * p->hidden ? Status::ok : Status::bad_shape;
  }

  static void step(const Run& r, const Recurrent& p, int64_t d, const float* x, const float* w, float* state) {
    float *h = state, *c = state + p.padded, *next = state + 2 * p.padded;
    const ActParams* act = p.act + 3 * d;
    const float* peep = r.in[5].absent() ? nullptr : r.in[5].as<const float>() + d * 3 * p.hidden;
    for (int64_t k = 0; k < p.padded; k += kLanes, w += 4 * kLanes * p.padded) {
      const int n = static_cast<int>(least(kLanes, p.hidden - k));
      vf g[4];
      gates_of<4>(w, h, p.padded, g);
      for (int q = 0; q < 4; ++q) g[q] = add(g[q], load_partial(x + q * p.hidden + k, n));
      vf cell = load(c + k);
      if (peep) {
        g[0] = fma(load_partial(peep + k, n), cell, g[0]);
        g[2] = fma(load_partial(peep + 2 * p.hidden + k, n), cell, g[2]);
      }
      const vf in = squash(act[0], p.clip, g[0]);
      const vf keep = p.option ? sub(broadcast(1.f), in) : squash(act[0], p.clip, g[2]);
      cell = fma(keep, cell, mul(in, squash(act[1], p.clip, g[3])));
      if (peep) g[1] = fma(load_partial(peep + p.hidden + k, n), cell, g[1]);
      const vf out = squash(act[0], p.clip, g[1]);
      store_partial(c + k, cell, n);
      store_partial(next + k, mul(out, squash(act[2], __builtin_inff(), cell)), n);
    }
    memcpy(h, next, static_cast<size_t>(p.hidden) * sizeof(float));
  }
};

Status query(const Request& r, Need* need) {
  Recurrent p;
  EDGERUN_TRY(Lstm::resolve(r, &p));
  need_recurrent(p, Lstm::kVectors, need);
  need->params = sizeof p;
  return Status::ok;
}
Status prepare(const Request& r, void* params, void* packed) {
  Recurrent& p = *static_cast<Recurrent*>(params);
  EDGERUN_TRY(Lstm::resolve(r, &p));
  float* out = static_cast<float*>(packed);
  for (int64_t d = 0; d < p.directions; ++d)
    out = pack_gates(p, r.in[1].as<const float>() + d * 4 * p.hidden * p.hidden, 0, 4, out);
  return Status::ok;
}
}  // namespace
extern const Kernel lstm_f32_kernel{"lstm_f32", query, prepare, run_recurrent<Lstm>};
EDGERUN_ISA_END
