// gru_f32: z, r = σ(xw + R h), g = γ(xw + R (r ⊙ h)), h' = (1 − z) ⊙ g + z ⊙ h; gates in the order z r g. Operands as in
// recurrent.h, then at 4 the recurrent bias b[D, H] of g. linear_before_reset: g = γ(xw + r ⊙ (R h + b)); otherwise b is absent.
// clip bounds what the activations see. |error of one step| <= H eps Σ|R||h| before σ.
#include "recurrent.h"

EDGERUN_ISA_BEGIN
namespace {
struct Gru {
  static constexpr int kStates = 1, kVectors = 4;  // h, z, r or r ⊙ h, the next h

  static Status resolve(const Request& r, Recurrent* p) {
    EDGERUN_TRY(arity(r, 5, 5, 2));
    EDGERUN_TRY(resolve_recurrent(r, 3, 2, kStates, "linear_before_reset", p));
    if (!r.has(4)) return Status::ok;
    if (!p->option) return Status::bad_arity;
    EDGERUN_TRY(sound(r.in[4], DType::f32));
    return r.in[4].elements() == p->directions * p->hidden ? Status::ok : Status::bad_shape;
  }

  static void step(const Run& r, const Recurrent& p, int64_t d, const float* x, const float* w, float* state) {
    float *h = state, *update = state + p.padded, *reset = state + 2 * p.padded, *next = state + 3 * p.padded;
    const ActParams* act = p.act + 2 * d;
    const float* bias = r.in[4].absent() ? nullptr : r.in[4].as<const float>() + d * p.hidden;
    for (int64_t k = 0; k < p.padded; k += kLanes, w += 2 * kLanes * p.padded) {
      const int n = static_cast<int>(least(kLanes, p.hidden - k));
      vf g[2];
      gates_of<2>(w, h, p.padded, g);
      store_partial(update + k, squash(act[0], p.clip, add(g[0], load_partial(x + k, n))), n);
      const vf open = squash(act[0], p.clip, add(g[1], load_partial(x + p.hidden + k, n)));
      store_partial(reset + k, p.option ? open : mul(open, load(h + k)), n);
    }
    for (int64_t k = 0; k < p.padded; k += kLanes, w += kLanes * p.padded) {
      const int n = static_cast<int>(least(kLanes, p.hidden - k));
      vf g[1];
      gates_of<1>(w, p.option ? h : reset, p.padded, g);
      if (bias) g[0] = add(g[0], load_partial(bias + k, n));
      if (p.option) g[0] = mul(g[0], load(reset + k));
      const vf fresh = squash(act[1], p.clip, add(g[0], load_partial(x + 2 * p.hidden + k, n)));
      const vf z = load(update + k);
      store_partial(next + k, fma(z, load(h + k), mul(sub(broadcast(1.f), z), fresh)), n);
    }
    memcpy(h, next, static_cast<size_t>(p.hidden) * sizeof(float));
  }
};

Status query(const Request& r, Need* need) {
  Recurrent p;
  EDGERUN_TRY(Gru::resolve(r, &p));
  need_recurrent(p, Gru::kVectors, need);
  need->params = sizeof p;
  return Status::ok;
}
Status prepare(const Request& r, void* params, void* packed) {
  Recurrent& p = *static_cast<Recurrent*>(params);
  EDGERUN_TRY(Gru::resolve(r, &p));
  float* out = static_cast<float*>(packed);
  for (int64_t d = 0; d < p.directions; ++d) {
    const float* weights = r.in[1].as<const float>() + d * 3 * p.hidden * p.hidden;
    out = pack_gates(p, weights, 2, 1, pack_gates(p, weights, 0, 2, out));
  }
  return Status::ok;
}
}  // namespace
extern const Kernel gru_f32_kernel{"gru_f32", query, prepare, run_recurrent<Gru>};
EDGERUN_ISA_END
