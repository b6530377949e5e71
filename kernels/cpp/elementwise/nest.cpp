// Broadcasting: how the loop nest of nest.h is made and walked.
#include "nest.h"

#include <cstring>

#include "binary.h"

EDGERUN_ISA_BEGIN
Status broadcast_shape(const Request& r) {
  const TensorView& y = r.out[0];
  int32_t rank = 0;
  for (int32_t k = 0; k < r.n_in; ++k) rank = rank > r.in[k].rank ? rank : r.in[k].rank;
  if (y.rank != rank) return Status::bad_rank;
  for (int32_t d = 0; d < rank; ++d) {
    int64_t want = 1;
    for (int32_t k = 0; k < r.n_in; ++k) {
      const int32_t at = d - (rank - r.in[k].rank);
      const int64_t n = at < 0 ? 1 : r.in[k].dims[at];
      if (n == 1) continue;
      if (want != 1 && want != n) return Status::bad_shape;
      want = n;
    }
    if (y.dims[d] != want) return Status::bad_shape;
  }
  return Status::ok;
}

void plan_nest(const Request& r, Nest* p) {
  const TensorView& y = r.out[0];
  p->rank = 0;
  p->operands = r.n_in;
  p->period = 0;
  int64_t stride[3];
  for (int32_t d = 0; d < y.rank; ++d) {
    const int64_t n = y.dims[d];
    if (n == 1) continue;
    const int32_t last = p->rank - 1;
    bool merge = last >= 0;
    for (int32_t k = 0; k < r.n_in; ++k) {
      const TensorView& x = r.in[k];
      const int32_t at = d - (y.rank - x.rank);
      stride[k] = at < 0 || x.dims[at] == 1 ? 0 : x.span(at + 1, x.rank);
      merge = merge && p->stride[k][last] == stride[k] * n;
    }
    if (!merge) p->dims[p->rank++] = 1;
    const int32_t to = p->rank - 1;
    p->dims[to] *= n;
    for (int32_t k = 0; k < r.n_in; ++k) p->stride[k][to] = stride[k];
  }
  if (p->rank == 0) {
    p->rank = 1, p->dims[0] = 1;
    for (int32_t k = 0; k < r.n_in; ++k) p->stride[k][0] = 0;
  }
  for (int32_t k = 0; k < r.n_in; ++k) p->bytes[k] = size_of(r.in[k].dtype), p->repeats[k] = false;

  const int32_t in = p->rank - 1;
  const int64_t n = p->dims[in];
  bool repeat = in > 0 && n > 0 && n < kRepeat / 4;
  for (int32_t k = 0; repeat && k < r.n_in; ++k) {
    const int64_t outer = p->stride[k][in - 1], inner = p->stride[k][in];
    if (inner == 1 && outer == 0)
      p->repeats[k] = true;
    else
      repeat = outer == inner * n;
  }
  if (repeat) {
    p->period = n;
    p->rank = in;
    p->dims[in - 1] *= n;
    for (int32_t k = 0; k < r.n_in; ++k) p->stride[k][in - 1] = p->stride[k][in];
  } else {
    for (int32_t k = 0; k < r.n_in; ++k) p->repeats[k] = false;
  }
  p->row = repeat ? ceil_div(kRepeat, n) * n : kBlock;
  const int64_t length = p->dims[p->rank - 1];
  p->block = repeat ? kBlock / p->row * p->row : kBlock;
  p->blocks = ceil_div(length, p->block);
  p->units = p->blocks;
  for (int32_t k = 0; k + 1 < p->rank; ++k) p->units *= p->dims[k];
}

void need_nest(const Request& r, const Nest& p, Need* need) {
  const double n = static_cast<double>(r.out[0].elements());
  need->params = sizeof(Nest);
  need->units = p.units;
  for (int32_t k = 0; k < r.n_in; ++k) {
    if (p.repeats[k]) need->scratch += static_cast<size_t>(p.row) * p.bytes[k];
    need->bytes += static_cast<double>(r.in[k].elements()) * static_cast<double>(p.bytes[k]);
  }
  need->work = n;
  need->bytes += n * static_cast<double>(size_of(r.out[0].dtype));
}

void walk(const Nest& p, const Run& r, NestRow row) {
  const int32_t in = p.rank - 1, operands = p.operands;
  const char *base[3] = {}, *filled[3] = {}, *at[3] = {};
  char* grown[3] = {};
  bool scalar[3] = {};
  char* scratch = static_cast<char*>(r.scratch);
  for (int32_t k = 0; k < operands; ++k) {
    scalar[k] = p.stride[k][in] == 0;
    if (!p.repeats[k]) continue;
    grown[k] = scratch;
    scratch += static_cast<size_t>(p.row) * p.bytes[k];
  }
  for (int64_t u = r.begin; u < r.end; ++u) {
    int64_t rest = u / p.blocks;
    const int64_t start = u % p.blocks * p.block;
    int64_t index = start, span = p.dims[in];
    for (int32_t k = 0; k < operands; ++k) {
      base[k] = r.in[k].as<const char>();
      if (!p.repeats[k]) base[k] += start * p.stride[k][in] * static_cast<int64_t>(p.bytes[k]);
    }
    for (int32_t d = in - 1; d >= 0; --d) {
      const int64_t i = rest % p.dims[d];
      rest /= p.dims[d];
      for (int32_t k = 0; k < operands; ++k) base[k] += i * p.stride[k][d] * static_cast<int64_t>(p.bytes[k]);
      index += i * span;
      span *= p.dims[d];
    }
    for (int32_t k = 0; k < operands; ++k) {
      at[k] = base[k];
      if (!p.repeats[k]) continue;
      at[k] = grown[k];
      if (filled[k] == base[k]) continue;
      filled[k] = base[k];
      const size_t period = static_cast<size_t>(p.period) * p.bytes[k], whole = static_cast<size_t>(p.row) * p.bytes[k];
      for (size_t to = 0; to < whole; to += period) memcpy(grown[k] + to, base[k], period);
    }
    const int64_t end = least(start + p.block, p.dims[in]);
    for (int64_t k = start; k < end; k += p.row) {
      const int64_t n = least(p.row, end - k);
      row(r, at, scalar, index, n);
      index += n;
      for (int32_t o = 0; o < operands; ++o)
        if (!p.repeats[o] && !scalar[o]) at[o] += n * static_cast<int64_t>(p.bytes[o]);
    }
  }
}

Status binary_operands(const Request& r, DType in, DType out) {
  EDGERUN_TRY(arity(r, 2, 2, 1));
  EDGERUN_TRY(sound(r.in[0], in));
  EDGERUN_TRY(sound(r.in[1], in));
  EDGERUN_TRY(sound(r.out[0], out));
  return broadcast_shape(r);
}

Status query_binary(const Request& r, Need* need, DType in, DType out) {
  EDGERUN_TRY(binary_operands(r, in, out));
  Nest p;
  plan_nest(r, &p);
  need_nest(r, p, need);
  return Status::ok;
}

Status prepare_binary(const Request& r, void* params, DType in, DType out) {
  EDGERUN_TRY(binary_operands(r, in, out));
  plan_nest(r, static_cast<Nest*>(params));
  return Status::ok;
}
EDGERUN_ISA_END
