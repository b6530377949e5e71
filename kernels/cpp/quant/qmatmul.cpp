// qmatmul_i8, qmatmul_u8: y = clamp(rescale((a - a_zero) (b - b_zero) + bias) + y_zero, low, high), or the int32 sums.
//
// A constant b [K, N] is packed once, as bytes where few rows pass by (then its size is what counts). A computed b [..., K, N] is
// packed panel by panel into scratch. Rows of a are widened into scratch block by block. Leading dimensions broadcast.
#include "matmul/leading.h"
#include "quant/qconv_shape.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int64_t kScratchWords = 16 * 1024;  // of widened a in one block
inline constexpr int64_t kLargestK = INT32_MAX / (255 * 255);

struct Params {
  QuantParams q;
  int64_t rows, k, columns, batches;
  int64_t dims[kMaxRank], a_step[kMaxRank], b_step[kMaxRank];
  int32_t leading;
  int64_t block_rows, row_units, line;  // line: elements of a widened row
  bool constant_b, by_columns, signed_b;
  Form form;
  int32_t b_zero;
  Epilogue epilogue;
  IntAudit audit;
};

int64_t aligned(int64_t bytes) { return ceil_div(bytes, kCacheLine) * kCacheLine; }
int64_t pointer_bytes(const Params& p) { return aligned(p.block_rows * 8); }
int64_t block_bytes(const Params& p) { return aligned(p.block_rows * p.line * a_size(p.form)); }
size_t packed_bytes(const Params& p) {
  const int64_t weights = p.constant_b ? aligned(packed_elements(p.form, 1, p.k, p.columns) * b_size(p.form)) : 0;
  return static_cast<size_t>(kCacheLine + p.epilogue.bytes() + weights);
}

Status resolve(const Request& r, DType dtype, Params* p) {
  EDGERUN_TRY(arity(r, 2, 4, 1));
  const TensorView &a = r.in[0], &b = r.in[1], &y = r.out[0];
  if (a.rank < 2 || b.rank < 2 || y.rank < 2) return Status::bad_rank;
  EDGERUN_TRY(quant_operands(r, dtype, "a_zero", y.last(), &p->q));
  p->rows = a.dims[a.rank - 2], p->k = a.last(), p->columns = b.last();
  if (b.dims[b.rank - 2] != p->k || y.dims[y.rank - 2] != p->rows || y.last() != p->columns) return Status::bad_shape;
  p->leading = y.rank - 2;
  EDGERUN_TRY(steps_of(a, y, p->a_step));
  EDGERUN_TRY(steps_of(b, y, p->b_step));
  p->batches = y.span(0, p->leading);
  for (int32_t i = 0; i < p->leading; ++i) p->dims[i] = y.dims[i];

  p->constant_b = b.data != nullptr && b.rank == 2 && (b.dtype == DType::i8 || b.dtype == DType::i16);
  p->signed_b = b.dtype == DType::i8;
  p->b_zero = 0;
  if (p->constant_b) {
    if (r.attrs.i("b_zero")) return Status::bad_attribute;
  } else {
    if (b.dtype != DType::i8 && b.dtype != DType::u8) return b.dtype == DType::i16 ? Status::not_constant : Status::bad_dtype;
    EDGERUN_TRY(byte_attribute(r, "b_zero", b.dtype, 0, &p->b_zero));
    if (p->k > kLargestK) return Status::too_large;
  }
  if (p->k > int64_t{1} << 40) return Status::too_large;
  if (b.span(0, b.rank - 2) == 1 && a.span(0, a.rank - 2) == p->batches) {  // one product over all rows
    p->rows *= p->batches;
    p->batches = 1;
    p->leading = 0;
  }
  const int64_t moved = p->batches * p->rows * (p->columns + p->k);
  p->by_columns = !p->constant_b || (panels_of(p->columns) > 1 &&
                                     (p->rows * p->batches < kIntRows || p->k * p->columns > 4 * moved));
  p->form = !p->constant_b || !p->signed_b ? Form::words : kHasBytes ? Form::bytes : p->rows < kIntRows ? Form::words_bytes : Form::words;
  p->line = groups_of(p->form, p->k) * step_of(p->form);
  p->block_rows = least(most(p->rows, 1), ceil_div(most(kScratchWords / most(p->line, 1), 1), kIntRows) * kIntRows);
  if (!p->constant_b) p->block_rows = most(p->rows, 1);  // a panel is packed once for all rows
  p->row_units = ceil_div(p->rows, kIntRows);
  p->epilogue = {padded_columns(p->columns), !p->q.raw, any_shift(r, p->q.raw)};
  p->audit = audit_of(r, p->q);
  p->audit.on = p->audit.on && p->constant_b && p->batches == 1;
  p->audit.plain = true;
  p->audit.words = word_sums(r.in[1], p->columns);
  p->audit.pixels = p->rows, p->audit.channels = p->k, p->audit.columns = p->columns;
  int_audit_resolve(packed_bytes(*p), &p->audit);
  return Status::ok;
}

template <DType kA>
Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, kA, &p));
  need->params = sizeof p;
  need->packed = packed_bytes(p);
  need->table = static_cast<size_t>(kCacheLine + p.epilogue.bytes());
  need->scratch = static_cast<size_t>(pointer_bytes(p) + block_bytes(p) + (p.constant_b ? 0 : packed_elements(p.form, 1, p.k, kPanel) * 2));
  const int64_t outputs = r.out[0].elements();
  need->units = outputs == 0 ? 0 : p.batches * (p.by_columns ? panels_of(p.columns) : p.row_units);
  need->work = static_cast<double>(outputs) * static_cast<double>(p.k);
  need->bytes = static_cast<double>(r.in[0].elements() + r.in[1].elements() + outputs);
  need_audit(p.audit, need);
  return Status::ok;
}

template <DType kA>
Status prepare(const Request& r, void* params, void* packed) {
  Params& p = *static_cast<Params*>(params);
  EDGERUN_TRY(resolve(r, kA, &p));
  const TensorView& b = r.in[1];
  const TensorView *bias = r.has(2) ? &r.in[2] : nullptr, *factors = p.q.raw ? nullptr : &r.in[3];
  *static_cast<int64_t*>(packed) = 0;  // the one segment
  char* at = static_cast<char*>(packed) + kCacheLine;
  const auto weight = [&](int64_t k, int64_t n) { return weight_at(b, k * p.columns + n); };
  const auto sum = [&](int64_t n) {
    int32_t all = 0;
    for (int64_t k = 0; k < p.k; ++k) all += weight(k, n);
    return all;
  };
  const int32_t zero = p.form == Form::bytes ? byte_zero(p.q.signed_x, p.q.x_zero) : 0;
  pack_epilogue(p.epilogue, bias, factors, 0, p.columns, zero, sum, reinterpret_cast<int32_t*>(at));
  if (!p.constant_b) {
    const auto largest = [](int64_t, int64_t) { return 255; };
    return bounded_sums(p.columns, bias ? p.k : 0, bias, largest);
  }
  EDGERUN_TRY(bounded_sums(p.columns, p.k, bias, weight));
  pack_b(p.form, 1, p.k, p.columns, 0, panels_of(p.columns), weight, at + p.epilogue.bytes());
  if (p.audit.on) int_audit_pack(p.audit, {&b, 1, 0, p.columns}, bias, packed);
  return Status::ok;
}

// Panels [first, last) of rows whose b is not packed yet.
template <class T>
void multiply_computed(const Params& p, IntProduct product, const T* b, const void* const* rows, int64_t row, int64_t m, int64_t first,
                       int64_t last, word* panel) {
  const auto weight = [&](int64_t k, int64_t n) { return b[k * p.columns + n] - p.b_zero; };
  product.b = panel, product.b_panel = 0;
  for (int64_t i = first; i < last; ++i) {
    pack_b(Form::words, 1, p.k, p.columns, i, i + 1, weight, panel);
    int_multiply(product, rows, row, m, i, i + 1);
  }
}

template <class T>
void widen_line(const Params& p, const T* a, void* line) {
  if (p.form == Form::bytes) widen(a, p.k, 0, static_cast<int8_t*>(line));
  else widen(a, p.k, p.q.x_zero, static_cast<word*>(line));
}

// Rows [begin, end) of product n, panels [first, last).
void run_rows(const Run& r, const Params& p, int64_t n, int64_t begin, int64_t end, int64_t first, int64_t last) {
  int64_t in_a = 0, in_b = 0, rest = n;
  for (int32_t i = p.leading - 1; i >= 0; --i) {
    in_a += rest % p.dims[i] * p.a_step[i];
    in_b += rest % p.dims[i] * p.b_step[i];
    rest /= p.dims[i];
  }
  char* scratch = static_cast<char*>(r.scratch);
  const void** rows = reinterpret_cast<const void**>(scratch);
  char* wide = scratch + pointer_bytes(p);
  word* panel = reinterpret_cast<word*>(scratch + pointer_bytes(p) + block_bytes(p));
  const char* packed = static_cast<const char*>(r.packed) + kCacheLine;

  IntProduct product{};
  product.form = p.form;
  product.segments = static_cast<const int64_t*>(r.packed);
  product.n_segments = 1, product.groups = groups_of(p.form, p.k);
  product.b = packed + p.epilogue.bytes();
  product.b_panel = packed_elements(p.form, 1, p.k, kPanel);
  product.narrow = p.q.narrow;
  product.ldc = product.columns = p.columns;
  product.flat = n * p.rows * p.columns;
  product.c = r.out[0].as<char>() + product.flat * (p.q.raw ? 4 : 1);
  watch(r, p.q, p.audit, &product);
  locate_fault(&product, p.rows);
  use_epilogue(p.epilogue, reinterpret_cast<const int32_t*>(packed), &product);

  for (int64_t row = begin; row < end; row += p.block_rows) {
    const int64_t m = least(p.block_rows, end - row);
    for (int64_t i = 0; i < m; ++i) {
      const int64_t at = (in_a * p.rows + row + i) * p.k;
      char* line = wide + i * p.line * a_size(p.form);
      if (p.q.signed_x) widen_line(p, r.in[0].as<const int8_t>() + at, line);
      else widen_line(p, r.in[0].as<const uint8_t>() + at, line);
      rows[i] = line;
    }
    if (p.constant_b) int_multiply(product, rows, row, m, first, last);
    else if (p.signed_b) multiply_computed(p, product, r.in[1].as<const int8_t>() + in_b * p.k * p.columns, rows, row, m, first, last, panel);
    else multiply_computed(p, product, r.in[1].as<const uint8_t>() + in_b * p.k * p.columns, rows, row, m, first, last, panel);
  }
}

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const int64_t panels = panels_of(p.columns), each = p.by_columns ? panels : p.row_units;
  for (int64_t unit = r.begin; unit < r.end;) {
    const int64_t n = unit / each, inside = unit % each, stop = least(each, inside + (r.end - unit));
    if (p.by_columns) run_rows(r, p, n, 0, p.rows, inside, stop);
    else run_rows(r, p, n, inside * kIntRows, least(p.rows, stop * kIntRows), 0, panels);
    unit += stop - inside;
  }
}

void audit(const Run& r) { int_audit(r, static_cast<const Params*>(r.params)->audit); }

}  // namespace
extern const Kernel qmatmul_i8_kernel{"qmatmul_i8", query<DType::i8>, prepare<DType::i8>, run, audit};
extern const Kernel qmatmul_u8_kernel{"qmatmul_u8", query<DType::u8>, prepare<DType::u8>, run, audit};
EDGERUN_ISA_END
