// What LSTM, GRU and RNN share. The projection of all inputs, xw = W x + biases, is a matrix product that comes before; what
// is left is one product of the previous hidden state with R a time step, gates and activations in the same pass.
//
// inputs   xw[T, N, D·G·H] f32 · r[D, G·H, H] f32 const · lengths[N] i32? · h0? · what the cell adds
// outputs  y[T, D, N, H] · y_h[D, N, H] · what the cell adds; batch_first: xw[N, T, …], y[N, T, D, H], states [N, D, H]
// A unit is one sequence in one direction. What lies beyond a sequence's length is 0 in y. Checks: y is finite.
//
// R is packed in blocks of kLanes hidden units: for each k of the previous state, one vector a gate, so that all gates of a
// block are in registers at once. Rows and columns are padded with zeros to a multiple of kLanes.
#pragma once
#include <cstring>

#include "activation.h"
#include "operand.h"

namespace edgerun::EDGERUN_ISA {

inline constexpr int kMaxActs = 6;  // three a direction

struct Recurrent {
  int64_t steps, batch, directions, hidden, padded, gates;
  int64_t x_step, x_batch, y_step, y_batch, y_direction, s_batch, s_direction;  // elements from one to the next
  ActParams act[kMaxActs];  // those of the second direction follow those of the first
  float clip;
  bool backward, option;  // the first direction runs from the end; input_forget or linear_before_reset
};

inline bool is_state(const Recurrent& p, const TensorView& v, bool batch_first) {
  return v.rank == 3 && v.dims[batch_first ? 1 : 0] == p.directions && v.dims[batch_first ? 0 : 1] == p.batch &&
         v.dims[2] == p.hidden;
}

// `acts` activations a direction; `states` outputs after y, the first also an input at 3 (the others at 4 …).
inline Status resolve_recurrent(const Request& r, int64_t gates, int32_t acts, int32_t states, const char* option,
                                Recurrent* p) {
  for (int32_t k = 0; k < r.n_out; ++k) EDGERUN_TRY(sound(r.out[k], DType::f32));
  const TensorView &x = r.in[0], &w = r.in[1], &y = r.out[0];
  EDGERUN_TRY(sound(x, DType::f32));
  EDGERUN_TRY(sound(w, DType::f32));
  if (!w.data) return Status::not_constant;
  if (x.rank != 3 || w.rank != 3 || y.rank != 4) return Status::bad_rank;
  const bool first = r.attrs.i("batch_first") != 0;
  const int64_t direction = r.attrs.i("direction");
  if (direction < 0 || direction > 2) return Status::bad_attribute;
  p->steps = x.dims[first ? 1 : 0], p->batch = x.dims[first ? 0 : 1];
  p->directions = w.dims[0], p->hidden = w.dims[2], p->gates = gates;
  p->padded = ceil_div(p->hidden, kLanes) * kLanes;
  p->backward = direction == 1;
  p->option = r.attrs.i(option) != 0;
  const int64_t row = p->directions * gates * p->hidden;
  if (p->hidden < 1 || p->directions != (direction == 2 ? 2 : 1)) return Status::bad_shape;
  if (w.dims[1] != gates * p->hidden || x.dims[2] != row) return Status::bad_shape;
  const int64_t t = first ? 1 : 0, d = first ? 2 : 1, n = first ? 0 : 2;
  if (y.dims[t] != p->steps || y.dims[d] != p->directions || y.dims[n] != p->batch || y.dims[3] != p->hidden)
    return Status::bad_shape;
  p->x_step = first ? row : p->batch * row, p->x_batch = first ? p->steps * row : row;
  p->y_step = p->directions * p->hidden * (first ? 1 : p->batch);
  p->y_batch = p->hidden * (first ? p->steps * p->directions : 1);
  p->y_direction = p->hidden * (first ? 1 : p->batch);
  p->s_batch = p->hidden * (first ? p->directions : 1), p->s_direction = p->hidden * (first ? 1 : p->batch);
  if (r.has(2)) {
    EDGERUN_TRY(sound(r.in[2], DType::i32));
    if (r.in[2].elements() != p->batch) return Status::bad_shape;
  }
  for (int32_t k = 0; k < states; ++k) {
    if (!is_state(*p, r.out[1 + k], first)) return Status::bad_shape;
    if (!r.has(3 + k)) continue;
    EDGERUN_TRY(sound(r.in[3 + k], DType::f32));
    if (!is_state(*p, r.in[3 + k], first)) return Status::bad_shape;
  }
  const auto count = static_cast<int32_t>(acts * p->directions);
  int64_t codes[kMaxActs];
  float alpha[kMaxActs], beta[kMaxActs];
  if (!ints(r, "activations", count, codes) || !floats(r, "act_alpha", count, alpha) || !floats(r, "act_beta", count, beta))
    return Status::bad_attribute;
  for (int32_t k = 0; k < count; ++k) {
    if (codes[k] < 0 || codes[k] >= kActivationCount) return Status::bad_attribute;
    p->act[k] = {static_cast<int32_t>(codes[k]), alpha[k], beta[k]};
  }
  p->clip = r.attrs.f("clip", __builtin_inff());
  return p->clip > 0 ? Status::ok : Status::bad_attribute;
}

// vectors: of `padded` floats that the cell keeps in scratch.
inline void need_recurrent(const Recurrent& p, int64_t vectors, Need* need) {
  const int64_t weights = p.directions * p.gates * p.padded * p.padded;
  need->packed = static_cast<size_t>(weights) * sizeof(float);
  need->scratch = static_cast<size_t>(vectors * p.padded) * sizeof(float);
  need->units = p.directions * p.batch;
  need->work = 2.0 * static_cast<double>(p.steps) * static_cast<double>(p.batch) * static_cast<double>(weights);
  need->bytes = need->work * 2;
}

// Gates [from, from + count) of one direction, r[G·H, H]; returns where the next ones go.
inline float* pack_gates(const Recurrent& p, const float* r, int64_t from, int64_t count, float* out) {
  for (int64_t block = 0; block < p.padded; block += kLanes)
    for (int64_t k = 0; k < p.padded; ++k)
      for (int64_t g = from; g < from + count; ++g)
        for (int64_t j = block; j < block + kLanes; ++j)
          *out++ = j < p.hidden && k < p.hidden ? r[(g * p.hidden + j) * p.hidden + k] : 0.f;
  return out;
}

// sum[g] = Σ over k of h[k] · w[k][g] for one block of kLanes units; h is padded.
template <int kGates> EDGERUN_SIMD void gates_of(const float* w, const float* h, int64_t n, vf (&sum)[kGates]) {
  constexpr int kChains = kGates == 1 ? 4 : 2;  // additions in flight; n is a multiple of 4
  vf part[kChains][kGates] = {};
  for (int64_t k = 0; k < n; k += kChains, w += kChains * kGates * kLanes)
    for (int c = 0; c < kChains; ++c)
      for (int g = 0; g < kGates; ++g)
        part[c][g] = fma(broadcast(h[k + c]), load(w + (c * kGates + g) * kLanes), part[c][g]);
  for (int g = 0; g < kGates; ++g) {
    sum[g] = add(part[0][g], part[1][g]);
    if (kChains == 4) sum[g] = add(sum[g], add(part[kChains - 2][g], part[kChains - 1][g]));
  }
}

// act(clip(x)). One copy a kernel: it is large.
static EDGERUN_NOINLINE __attribute__((unused)) vf squash(const ActParams& p, float clip, vf x) {
  Checker none;
  x = clamp(broadcast(-clip), broadcast(clip), x);
  with_activation(p.code, [&](auto code) { x = activate<decltype(code)::value, false>(x, ActVectors(p), none); });
  return x;
}

inline void load_state(const Run& r, const Recurrent& p, int32_t input, int64_t at, float* state) {
  memset(state, 0, static_cast<size_t>(p.padded) * sizeof(float));
  if (input < r.n_in && !r.in[input].absent())
    memcpy(state, r.in[input].as<const float>() + at, static_cast<size_t>(p.hidden) * sizeof(float));
}

// One row of y, checked; h null: zeros.
inline void write_row(const Run& r, const Recurrent& p, const float* h, int64_t at) {
  float* y = r.out[0].as<float>() + at;
  if (h) memcpy(y, h, static_cast<size_t>(p.hidden) * sizeof(float));
  else memset(y, 0, static_cast<size_t>(p.hidden) * sizeof(float));
  if (!r.sink) return;
  if (fault_in(r.sink, at, at + p.hidden)) {
    uint32_t bits;
    memcpy(&bits, y + (r.sink->fault->index - at), sizeof bits);
    bits ^= r.sink->fault->mask;
    memcpy(y + (r.sink->fault->index - at), &bits, sizeof bits);
  }
  Checker seen;
  for (int64_t k = 0; k < p.hidden; k += kLanes)
    seen.finite(load_partial(y + k, static_cast<int>(least(kLanes, p.hidden - k))));
  fold(seen, r.sink, at, p.hidden);
}

// Cell: vectors kept in scratch, states after h; step(r, p, direction, x, state) advances state[0] (h) and the others.
template <class Cell> void run_recurrent(const Run& r) {
  const Recurrent& p = *static_cast<const Recurrent*>(r.params);
  const int64_t weights = p.gates * p.padded * p.padded;
  float* state = static_cast<float*>(r.scratch);
  for (int64_t unit = r.begin; unit < r.end; ++unit) {
    const int64_t d = unit / p.batch, n = unit % p.batch, at = d * p.s_direction + n * p.s_batch;
    const bool backward = p.backward || d == 1;
    int64_t length = p.steps;
    if (!r.in[2].absent()) length = most(0, least(length, r.in[2].as<const int32_t>()[n]));
    memset(state, 0, static_cast<size_t>(Cell::kVectors * p.padded) * sizeof(float));
    for (int32_t k = 0; k < Cell::kStates; ++k) load_state(r, p, 3 + k, at, state + k * p.padded);
    const float* x = r.in[0].as<const float>() + n * p.x_batch + d * p.gates * p.hidden;
    const float* w = static_cast<const float*>(r.packed) + d * weights;
    const int64_t to = d * p.y_direction + n * p.y_batch;
    for (int64_t k = 0; k < length; ++k) {
      const int64_t t = backward ? length - 1 - k : k;
      Cell::step(r, p, d, x + t * p.x_step, w, state);
      write_row(r, p, state, to + t * p.y_step);
    }
    for (int64_t t = length; t < p.steps; ++t) write_row(r, p, nullptr, to + t * p.y_step);
    for (int32_t k = 0; k < Cell::kStates; ++k)
      memcpy(r.out[1 + k].as<float>() + at, state + k * p.padded, static_cast<size_t>(p.hidden) * sizeof(float));
  }
}

}  // namespace edgerun::EDGERUN_ISA
