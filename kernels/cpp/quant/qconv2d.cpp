// qconv2d_i8, qconv2d_u8: y = clamp(rescale(sum (x - x_zero) w + bias) + y_zero, low, high), or the int32 sum; channels-last, grouped.
//
// As conv2d_f32: a GEMM over output pixels without im2col. The input rows that a block of output rows needs are brought into
// scratch with their margins, as the elements that the product takes (words.h), once for all output channels. 3x3 with stride 1 and enough channels
// runs through Winograd's algorithm in integers (qwinograd.h).
#include "quant/qwinograd.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int64_t kScratchWords = 24 * 1024;  // of widened input in one block

struct Params {
  ConvShape s;
  QuantParams q;
  bool by_columns;       // units are panels of output channels, otherwise runs of unit_rows output rows
  Form form;
  int64_t unit_rows, units_per_image, block_rows;
  int64_t row_step;      // scratch rows between output rows
  int64_t line;          // elements of one scratch row
  int64_t n_segments, length;
  int64_t scratch_elements;
  Epilogue epilogue;
  int64_t group_bytes;   // packed, of one group
  IntWinograd w;
  IntAudit audit;
};

int64_t rounded(int64_t n, int64_t to) { return ceil_div(n, to) * to; }

int64_t table_bytes(const Params& p) { return rounded(p.n_segments * 8, kCacheLine); }
size_t packed_bytes(const Params& p) {
  return p.w.tile != 0 ? int_winograd_packed_bytes(p.w) : static_cast<size_t>(table_bytes(p) + p.s.group * p.group_bytes);
}

Status resolve(const Request& r, DType dtype, Params* p) {
  EDGERUN_TRY(arity(r, 2, 4, 1));
  const TensorView &x = r.in[0], &w = r.in[1], &y = r.out[0];
  if (x.rank != 4 || y.rank != 4 || w.rank != 4) return Status::bad_rank;
  EDGERUN_TRY(quant_operands(r, dtype, "x_zero", y.dims[3], &p->q));
  EDGERUN_TRY(constant_weights(w));
  ConvShape& s = p->s;
  s.kernel_h = w.dims[1], s.kernel_w = w.dims[2];
  EDGERUN_TRY(conv_geometry(r, false, &s));
  s.group = r.attrs.i("group", 1);
  if (s.group < 1) return Status::bad_attribute;
  if (s.channels % s.group || s.out_channels % s.group || w.dims[0] != s.out_channels || w.dims[3] != s.channels / s.group)
    return Status::bad_shape;

  const bool pixelwise = s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 &&
                         s.pad_left == 0 && s.height == s.out_height && s.width == s.out_width;
  if (pixelwise) {  // every pixel is a row of its own
    s.height = s.out_height = s.batch * s.height * s.width;
    s.batch = s.width = s.out_width = 1;
  }
  const bool one_tap = s.group > 1 || s.dilation_w > 1;
  p->n_segments = one_tap ? s.kernel_h * s.kernel_w : s.kernel_h;
  p->length = one_tap ? s.channels / s.group : s.kernel_w * s.channels;
  EDGERUN_TRY(row_words(s, &p->line));
  p->row_step = s.kernel_h == 1 ? 1 : s.stride_h;  // rows that no tap reads are left out

  const int64_t columns = s.out_channels / s.group, pixels = s.out_height * s.out_width, k = p->n_segments * p->length;
  p->by_columns = s.group == 1 && panels_of(columns) > 1 && (pixels < kIntRows || k * columns > 4 * pixels * (columns + s.channels));
  p->form = w.dtype != DType::i8 ? Form::words : kHasBytes ? Form::bytes : p->by_columns ? Form::words_bytes : Form::words;
  p->unit_rows = most(1, kIntRows / most(s.out_width, 1));
  p->units_per_image = ceil_div(s.out_height, p->unit_rows);
  const int64_t room = (kScratchWords / most(p->line, 1) - s.span_h()) / p->row_step + 1;
  p->block_rows = least(most(s.out_height, 1), most(1, room));
  if (p->block_rows > p->unit_rows) p->block_rows -= p->block_rows % p->unit_rows;
  p->scratch_elements = ((p->block_rows - 1) * p->row_step + s.span_h()) * p->line + kMostGroup;
  p->epilogue = {padded_columns(columns), !p->q.raw, any_shift(r, p->q.raw)};
  p->group_bytes = p->epilogue.bytes() + rounded(packed_elements(p->form, p->n_segments, p->length, columns) * b_size(p->form), kCacheLine);
  int_winograd_choose(s, w, p->epilogue, &p->w);
  p->audit = audit_of(r, p->q, s, p->w.tile == 0 ? 1 : p->w.tile);
  p->audit.plain = pixelwise;
  p->audit.words = pixelwise && word_sums(w, columns);
  int_audit_resolve(packed_bytes(*p), &p->audit);
  return Status::ok;
}

int64_t pointer_bytes(const Params& p) { return rounded(p.block_rows * p.s.out_width * 8, kCacheLine); }

template <DType kX>
Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, kX, &p));
  const ConvShape& s = p.s;
  const int64_t outputs = r.out[0].elements(), k = p.n_segments * p.length;
  need->params = sizeof p;
  need->packed = packed_bytes(p);
  need->table = p.w.tile != 0 ? int_winograd_table_bytes(p.w) : static_cast<size_t>(table_bytes(p) + (s.group == 1 ? p.epilogue.bytes() : 0));
  need->scratch = static_cast<size_t>(pointer_bytes(p) + p.scratch_elements * a_size(p.form));
  need->units = outputs == 0 ? 0 : p.by_columns ? panels_of(s.out_channels) : s.batch * p.units_per_image;
  if (p.w.tile != 0) {
    need->scratch = int_winograd_scratch_bytes(p.w);
    need->units = outputs == 0 ? 0 : s.batch * p.w.tiles_high;
  }
  need_audit(p.audit, need);
  need->work = static_cast<double>(outputs) * static_cast<double>(k);  // two products at a time
  need->bytes = static_cast<double>(r.in[0].elements() + r.in[1].elements() * 2 + outputs);
  return Status::ok;
}

template <DType kX>
Status prepare(const Request& r, void* params, void* packed) {
  Params& p = *static_cast<Params*>(params);
  EDGERUN_TRY(resolve(r, kX, &p));
  const ConvShape& s = p.s;
  const TensorView& w = r.in[1];
  const TensorView *bias = r.has(2) ? &r.in[2] : nullptr, *factors = p.q.raw ? nullptr : &r.in[3];
  const int64_t columns = s.out_channels / s.group, k = p.n_segments * p.length;
  EDGERUN_TRY(bounded_sums(s.out_channels, k, bias, [&](int64_t i, int64_t n) { return weight_at(w, n * k + i); }));
  if (p.audit.on) int_audit_pack(p.audit, {&w, k, s.channels / s.group, 1}, bias, packed);
  if (p.w.tile != 0) {
    int_winograd_pack(s, p.w, w, bias, factors, packed);
    return Status::ok;
  }
  int64_t* segments = static_cast<int64_t*>(packed);
  for (int64_t i = 0; i < p.n_segments; ++i) {
    const int64_t taps = p.n_segments / s.kernel_h;
    segments[i] = i / taps * s.dilation_h * p.line + i % taps * s.dilation_w * s.channels;
  }
  for (int64_t g = 0; g < s.group; ++g) {
    char* at = static_cast<char*>(packed) + table_bytes(p) + g * p.group_bytes;
    const auto weight = [&](int64_t i, int64_t n) { return weight_at(w, (g * columns + n) * k + i); };
    const auto sum = [&](int64_t n) {
      int32_t all = 0;
      for (int64_t i = 0; i < k; ++i) all += weight(i, n);
      return all;
    };
    const int32_t zero = p.form == Form::bytes ? byte_zero(p.q.signed_x, p.q.x_zero) : 0;
    pack_epilogue(p.epilogue, bias, factors, g * columns, columns, zero, sum, reinterpret_cast<int32_t*>(at));
    pack_b(p.form, p.n_segments, p.length, columns, 0, panels_of(columns), weight, at + p.epilogue.bytes());
  }
  return Status::ok;
}

// Output rows [begin, end) of image n, panels [first, last). A: the form's element.
template <class A>
void run_rows(const Run& r, const Params& p, int64_t n, int64_t begin, int64_t end, int64_t first, int64_t last) {
  const ConvShape& s = p.s;
  const void** rows = static_cast<const void**>(r.scratch);
  A* wide = reinterpret_cast<A*>(static_cast<char*>(r.scratch) + pointer_bytes(p));
  const int64_t columns = s.out_channels / s.group, pixels = s.out_height * s.out_width, size = p.q.raw ? 4 : 1;

  IntProduct product{};
  product.form = p.form;
  product.segments = static_cast<const int64_t*>(r.packed);
  product.n_segments = p.n_segments, product.groups = groups_of(p.form, p.length);
  product.b_panel = packed_elements(p.form, p.n_segments, p.length, kPanel);
  product.narrow = p.q.narrow;
  product.ldc = s.out_channels, product.columns = columns;
  watch(r, p.q, p.audit, &product);

  for (int64_t oy = begin; oy < end; oy += p.block_rows) {
    const int64_t block = least(p.block_rows, end - oy), top = oy * s.stride_h - s.pad_top;
    const int64_t step = s.kernel_h == 1 ? s.stride_h : 1, count = (block - 1) * p.row_step + s.span_h();
    widen_image_rows(s, p.q, r.in[0], n, top, step, count, p.line, wide);
    const int64_t m = block * s.out_width;
    const A* first_pixel = wide;
    const bool lone = s.out_width == 1;  // pixels of a row, or rows of a pixel: one long loop
    const int64_t wide_count = lone ? block : s.out_width, apart = lone ? p.row_step * p.line : s.stride_w * s.channels;
    for (int64_t i = 0; i < m; i += wide_count, first_pixel += p.row_step * p.line)
      for (int64_t k = 0; k < wide_count; ++k) rows[i + k] = first_pixel + k * apart;
    for (int64_t g = 0; g < s.group; ++g) {
      const char* packed = static_cast<const char*>(r.packed) + table_bytes(p) + g * p.group_bytes;
      use_epilogue(p.epilogue, reinterpret_cast<const int32_t*>(packed), &product);
      product.b = packed + p.epilogue.bytes();
      product.flat = n * pixels * s.out_channels + g * columns;
      product.c = r.out[0].as<char>() + product.flat * size;
      locate_fault(&product, pixels);
      int_multiply(product, rows, oy * s.out_width, m, first, last);
      if (s.group > 1)
        for (int64_t i = 0; i < m; ++i) rows[i] = static_cast<const A*>(rows[i]) + s.channels / s.group;
    }
  }
}

void rows_of_form(const Run& r, const Params& p, int64_t n, int64_t begin, int64_t end, int64_t first, int64_t last) {
  if (p.form == Form::bytes) run_rows<int8_t>(r, p, n, begin, end, first, last);
  else run_rows<word>(r, p, n, begin, end, first, last);
}

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  if (p.w.tile != 0) return int_winograd_run(r, p.s, p.q, p.w, p.audit, r.begin, r.end);
  const int64_t panels = panels_of(p.s.out_channels / p.s.group);
  if (p.by_columns) {
    for (int64_t n = 0; n < p.s.batch; ++n) rows_of_form(r, p, n, 0, p.s.out_height, r.begin, r.end);
    return;
  }
  for (int64_t unit = r.begin; unit < r.end;) {
    const int64_t n = unit / p.units_per_image, inside = unit % p.units_per_image;
    const int64_t stop = least(p.units_per_image, inside + (r.end - unit));
    rows_of_form(r, p, n, inside * p.unit_rows, least(p.s.out_height, stop * p.unit_rows), 0, panels);
    unit += stop - inside;
  }
}

void audit(const Run& r) { int_audit(r, static_cast<const Params*>(r.params)->audit); }

}  // namespace
extern const Kernel qconv2d_i8_kernel{"qconv2d_i8", query<DType::i8>, prepare<DType::i8>, run, audit};
extern const Kernel qconv2d_u8_kernel{"qconv2d_u8", query<DType::u8>, prepare<DType::u8>, run, audit};
EDGERUN_ISA_END
