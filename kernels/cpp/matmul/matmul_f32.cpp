// matmul_f32: y[..., m, n] = act(alpha sum over k of a[..., m, k] b[..., k, n] + bias[n] + r[..., m, n]),
// a as [..., K, M] with trans_a, b as [..., N, K] with trans_b, leading dimensions broadcast as in NumPy.
//
// A constant b is packed once (gemm.h). A computed b is packed panel by panel into scratch, except where few rows would not
// pay for it: then full panels are read in place. r may not overlap y. NaN in, NaN out. |error| <= K eps |alpha| sum |a||b|.
#include "matmul/gemm.h"
#include "matmul/leading.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int64_t kRowsPerUnit = 24;         // a multiple of every tile's rows
inline constexpr int64_t kBlockFloats = 16 * 1024;  // of A in one block
inline constexpr int64_t kFewRows = 8;              // not worth packing a computed b for

struct Params {
  int64_t rows, k, columns;  // of one product
  int64_t batches;           // products
  int64_t dims[kMaxRank], a_step[kMaxRank], b_step[kMaxRank];  // leading dimensions; matrices to advance in a and b
  int32_t leading;
  int64_t block_rows, row_units;
  bool trans_a, trans_b, constant_b, by_columns;
  float alpha;
  ActParams act;
  Audit audit;
};

Status resolve(const Request& r, Params* p) {
  EDGERUN_TRY(arity(r, 2, 4, 1));
  const TensorView &a = r.in[0], &b = r.in[1], &y = r.out[0];
  EDGERUN_TRY(sound(a, DType::f32));
  EDGERUN_TRY(sound(b, DType::f32));
  EDGERUN_TRY(sound(y, DType::f32));
  if (a.rank < 2 || b.rank < 2 || y.rank < 2) return Status::bad_rank;
  EDGERUN_TRY(read_activation(r.attrs, &p->act));
  p->trans_a = r.attrs.i("trans_a") != 0;
  p->trans_b = r.attrs.i("trans_b") != 0;
  p->alpha = r.attrs.f("alpha", 1.f);
  p->rows = a.dims[a.rank - (p->trans_a ? 1 : 2)];
  p->k = a.dims[a.rank - (p->trans_a ? 2 : 1)];
  p->columns = b.dims[b.rank - (p->trans_b ? 2 : 1)];
  if (b.dims[b.rank - (p->trans_b ? 1 : 2)] != p->k || y.dims[y.rank - 2] != p->rows || y.last() != p->columns)
    return Status::bad_shape;
  if (r.has(2)) {
    EDGERUN_TRY(sound(r.in[2], DType::f32));
    if (r.in[2].elements() != p->columns) return Status::bad_shape;
  }
  if (r.has(3)) {
    EDGERUN_TRY(sound(r.in[3], DType::f32));
    if (!same_dims(r.in[3], y)) return Status::bad_shape;
  }
  p->leading = y.rank - 2;
  EDGERUN_TRY(steps_of(a, y, p->a_step));
  EDGERUN_TRY(steps_of(b, y, p->b_step));
  p->batches = y.span(0, p->leading);
  for (int32_t i = 0; i < p->leading; ++i) p->dims[i] = y.dims[i];
  p->constant_b = b.data != nullptr;

  const bool one_b = b.span(0, b.rank - 2) == 1, own_a = a.span(0, a.rank - 2) == p->batches;
  if (one_b && own_a && !p->trans_a) {  // one product over all rows
    p->rows *= p->batches;
    p->batches = 1;
    p->leading = 0;
  }
  const int64_t moved = p->batches * p->rows * (p->columns + p->k);
  p->by_columns = !p->constant_b || (panels_of(p->columns) > 1 &&
                                     (p->rows * p->batches < kRowsPerUnit || p->k * p->columns > 4 * moved));
  p->block_rows = least(most(p->rows, 1), ceil_div(most(kBlockFloats / most(p->k, 1), 1), kRowsPerUnit) * kRowsPerUnit);
  if (!p->constant_b) p->block_rows = most(p->rows, 1);  // a panel is packed once for all rows
  p->row_units = ceil_div(p->rows, kRowsPerUnit);

  Audit& audit = p->audit;
  audit = {};
  audit.on = audit_wanted(r) && p->constant_b && one_b && p->batches == 1 && !p->trans_a;
  audit.is_signed = r.attrs.i("nonnegative") == 0;
  audit.plain = true;
  audit.pixels = p->rows, audit.batch = 1, audit.channels = audit.k = p->k, audit.group = 1, audit.columns = p->columns;
  audit_bands(&audit);
  return Status::ok;
}

int64_t packed_b(const Params& p) { return ceil_div(packed_floats(p.k, p.columns), 16) * 16; }
int64_t pointer_bytes(const Params& p) { return ceil_div(p.block_rows * 8, kCacheLine) * kCacheLine; }

Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, &p));
  const int64_t matrices = r.in[1].span(0, r.in[1].rank - 2);
  need->params = sizeof p;
  need->table = kCacheLine;
  need->packed = kCacheLine + (p.constant_b ? static_cast<size_t>(matrices * packed_b(p) * 4) : 0);
  need->scratch = static_cast<size_t>(pointer_bytes(p) + (p.trans_a ? p.block_rows * p.k * 4 : 0) + kCacheLine +
                                      (p.constant_b ? 0 : p.k * kPanel * 4));
  if (p.audit.on) {
    p.audit.at = audit_round(need->packed);
    need->packed = p.audit.at + audit_packed(p.audit);
    if (need->scratch < audit_scratch(p.audit)) need->scratch = audit_scratch(p.audit);
  }
  need->audit_units = audit_units(p.audit);
  need->audit_sums = static_cast<int32_t>(audit_sums(p.audit));
  need->audit_bound = audit_bound(p.audit, static_cast<double>(p.k));
  const int64_t outputs = r.out[0].elements();
  need->units = outputs == 0 ? 0 : p.batches * (p.by_columns ? panels_of(p.columns) : p.row_units);
  need->work = 2.0 * static_cast<double>(outputs) * static_cast<double>(p.k);
  need->bytes = 4.0 * static_cast<double>(r.in[0].elements() + r.in[1].elements() + outputs);
  return Status::ok;
}

Status prepare(const Request& r, void* params, void* packed) {
  Params& p = *static_cast<Params*>(params);
  EDGERUN_TRY(resolve(r, &p));
  *static_cast<int64_t*>(packed) = 0;  // the one segment
  if (!p.constant_b) return Status::ok;
  float* out = reinterpret_cast<float*>(static_cast<char*>(packed) + kCacheLine);
  const int64_t matrices = r.in[1].span(0, r.in[1].rank - 2);
  for (int64_t i = 0; i < matrices; ++i)
    pack_panels(r.in[1].as<const float>() + i * p.k * p.columns, p.k, p.columns, p.trans_b ? 1 : p.columns,
                p.trans_b ? p.k : 1, p.alpha, 0, panels_of(p.columns), out + i * packed_b(p));
  if (!p.audit.on) return Status::ok;
  p.audit.at = audit_round(static_cast<size_t>(kCacheLine + packed_b(p) * 4));
  pack_audit(p.audit, r.in[1].as<const float>(), 0, p.trans_b ? 1 : p.columns, p.trans_b ? p.k : 1, p.alpha,
             r.has(2) ? r.in[2].as<const float>() : nullptr, reinterpret_cast<float*>(static_cast<char*>(packed) + p.audit.at));
  return Status::ok;
}

struct Scratch {
  const float** rows;
  float* a;      // block_rows x k, with trans_a
  float* panel;  // k x kPanel, for a computed b
};

// Panels [first, last) of one product whose b is not packed yet.
void multiply_computed(const Params& p, Product product, const float* b, const Scratch& s, int64_t row, int64_t m,
                       int64_t first, int64_t last) {
  const int64_t full = p.columns / kPanel;
  if (m <= kFewRows && !p.trans_b && p.alpha == 1.f && first < full) {
    product.b = b, product.b_row = p.columns, product.b_panel = kPanel;
    multiply_then_finish(product, s.rows, row, m, first, least(last, full), false);
    first = least(last, full);
  }
  for (int64_t i = first; i < last; ++i) {
    const int64_t stride_k = p.trans_b ? 1 : p.columns, stride_n = p.trans_b ? p.k : 1;
    pack_panels(b, p.k, p.columns, stride_k, stride_n, p.alpha, i, i + 1, s.panel);
    product.b = s.panel, product.b_row = kPanel, product.b_panel = 0;
    multiply_then_finish(product, s.rows, row, m, i, i + 1, true);
  }
}

// Rows [begin, end) of product n, panels [first, last).
void run_rows(const Run& r, const Params& p, int64_t n, int64_t begin, int64_t end, int64_t first, int64_t last) {
  int64_t in_a = 0, in_b = 0, rest = n;
  for (int32_t i = p.leading - 1; i >= 0; --i) {
    in_a += rest % p.dims[i] * p.a_step[i];
    in_b += rest % p.dims[i] * p.b_step[i];
    rest /= p.dims[i];
  }
  const float* a = r.in[0].as<const float>() + in_a * p.rows * p.k;
  const float* bias = r.n_in > 2 && !r.in[2].absent() ? r.in[2].as<const float>() : nullptr;
  const float* residual = r.n_in > 3 && !r.in[3].absent() ? r.in[3].as<const float>() : nullptr;
  char* at = static_cast<char*>(r.scratch);
  Scratch s;
  s.rows = reinterpret_cast<const float**>(at);
  s.a = reinterpret_cast<float*>(at + pointer_bytes(p));
  s.panel = s.a + (p.trans_a ? ceil_div(p.block_rows * p.k, 16) * 16 : 0);

  Product product{};
  product.segments = static_cast<const int64_t*>(r.packed);
  product.n_segments = 1, product.length = p.k;
  product.flat = n * p.rows * p.columns;
  product.b = reinterpret_cast<const float*>(static_cast<const char*>(r.packed) + kCacheLine) + in_b * packed_b(p);
  product.b_row = kPanel, product.b_panel = p.k * kPanel;
  product.bias = bias;
  product.residual = residual ? residual + product.flat : nullptr;
  product.c = r.out[0].as<float>() + product.flat;
  product.ldc = product.columns = p.columns;
  product.act = p.act, product.sink = r.sink;
  product.seen = p.audit.on && r.sink ? r.sink->checksum->seen : nullptr;
  product.seen_shift = p.audit.shift;
  locate_fault(&product, p.rows);

  for (int64_t row = begin; row < end; row += p.block_rows) {
    const int64_t m = least(p.block_rows, end - row);
    for (int64_t i = 0; i < m; ++i) s.rows[i] = p.trans_a ? s.a + i * p.k : a + (row + i) * p.k;
    if (p.trans_a)
      for (int64_t k = 0; k < p.k; ++k)
        for (int64_t i = 0; i < m; ++i) s.a[i * p.k + k] = a[k * p.rows + row + i];
    if (p.constant_b) multiply_then_finish(product, s.rows, row, m, first, last, true);
    else multiply_computed(p, product, r.in[1].as<const float>() + in_b * p.k * p.columns, s, row, m, first, last);
  }
  if (r.sink) r.sink->checked += static_cast<uint64_t>((end - begin) * (least(last * kPanel, p.columns) - first * kPanel));
}

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const int64_t panels = panels_of(p.columns), each = p.by_columns ? panels : p.row_units;
  for (int64_t unit = r.begin; unit < r.end;) {
    const int64_t n = unit / each, inside = unit % each, stop = least(each, inside + (r.end - unit));
    if (p.by_columns) run_rows(r, p, n, 0, p.rows, inside, stop);
    else run_rows(r, p, n, inside * kRowsPerUnit, least(p.rows, stop * kRowsPerUnit), 0, panels);
    unit += stop - inside;
  }
}

void audit(const Run& r) { audit_product(r, static_cast<const Params*>(r.params)->audit); }

}  // namespace
extern const Kernel matmul_f32_kernel{"matmul_f32", query, prepare, run, audit};
EDGERUN_ISA_END
