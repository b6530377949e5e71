// conv2d_f32: y[n, oy, ox, co] = act(sum over ky, kx, ci of x[n, oy sh - pt + ky dh, ox sw - pl + kx dw, ci] w[co, ky, kx, ci]
//                                    + b[co] + r[n, oy, ox, co]), channels-last, grouped.
//
// A GEMM over output pixels without an im2col copy: with channels last, the taps of one kernel row are contiguous, so a row
// of A is kernel_h segments of kernel_w * channels floats. Where there is padding, the input rows a block of output rows
// needs are first copied into scratch with their zero margins (a share of 1 / (kernel area * output channels / lanes) of the
// work), so that the inner loop knows no borders. 1x1 with stride 1 is one GEMM over all pixels.
// 3x3 with stride 1 and enough channels runs through Winograd's algorithm (winograd.h).
// NaN in, NaN out; r and y may not overlap. Accuracy of the direct way: |error| <= K eps sum |x||w|.
#include "conv/conv_shape.h"
#include "conv/winograd.h"
#include "matmul/gemm.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int64_t kRowsPerUnit = 24;            // a multiple of every tile's rows
inline constexpr int64_t kBlockFloats = 16 * 1024;     // of A in one block: half of a small L2 is left to B and C
inline constexpr int64_t kFinishedFloats = 4 * 1024;  // of output in one block whose activation is a pass of its own
inline constexpr int64_t kPaddedFloats = 24 * 1024;    // of copied input in one block

struct Params {
  ConvShape s;
  ActParams act;
  bool copies;       // the input has a margin of zeros: rows are copied to scratch
  bool by_columns;   // units are panels of output channels, otherwise runs of unit_pixels output pixels
  int64_t unit_pixels, units_per_image, block_pixels;
  int64_t row_floats;  // of one input row as the tiles see it
  int64_t n_segments, length, weights_at;
  int64_t padded_floats;
  bool winograd;
  Winograd w;
  Audit audit;
};

int64_t rounded(int64_t n, int64_t to) { return ceil_div(n, to) * to; }

size_t packed_bytes(const Params& p) {
  if (p.winograd) return winograd_packed_bytes(p.w);
  const int64_t each = packed_floats(p.n_segments * p.length, p.s.out_channels / p.s.group);
  return static_cast<size_t>(p.weights_at + p.s.group * rounded(each, 16) * 4);
}

void resolve_audit(const Request& r, const ConvShape& s, bool whole_rows, Params* p) {
  Audit& a = p->audit;
  a = {};
  a.on = audit_wanted(r);
  if (!a.on) return;
  a.is_signed = r.attrs.i("nonnegative") == 0;
  a.plain = whole_rows;
  a.pixels = s.out_height * s.out_width, a.batch = s.batch, a.channels = s.channels;
  a.group = s.group, a.columns = s.out_channels / s.group, a.k = s.kernel_h * s.kernel_w * (s.channels / s.group);
  if (p->winograd) {
    a.tile = p->w.tile;
    a.rows.size = s.height, a.across.size = s.width;
    a.out_rows = s.out_height, a.out_across = s.out_width, a.pad_top = s.pad_top, a.pad_left = s.pad_left;
  } else if (!whole_rows)
    a.on = tap_axis(s.height, s.out_height, s.kernel_h, s.stride_h, s.dilation_h, s.pad_top, &a.rows) &&
           tap_axis(s.width, s.out_width, s.kernel_w, s.stride_w, s.dilation_w, s.pad_left, &a.across);
  audit_bands(&a);
  a.at = audit_round(packed_bytes(*p));
}

Status resolve(const Request& r, Params* p) {
  EDGERUN_TRY(conv_operands(r));
  EDGERUN_TRY(read_activation(r.attrs, &p->act));
  ConvShape& s = p->s;
  const TensorView& w = r.in[1];
  if (w.rank != 4) return Status::bad_rank;
  s.kernel_h = w.dims[1], s.kernel_w = w.dims[2];
  EDGERUN_TRY(conv_geometry(r, false, &s));
  s.group = r.attrs.i("group", 1);
  if (s.group < 1) return Status::bad_attribute;
  if (s.channels % s.group || s.out_channels % s.group || w.dims[0] != s.out_channels || w.dims[3] != s.channels / s.group)
    return Status::bad_shape;

  const bool whole_rows = s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 &&
                          s.pad_left == 0 && s.height == s.out_height && s.width == s.out_width;
  if (whole_rows) {
    s.width = s.out_width = s.batch * s.height * s.width;
    s.batch = s.height = s.out_height = 1;
  }
  const int64_t reach_h = (s.out_height - 1) * s.stride_h + s.span_h(), reach_w = s.padded_width();
  p->copies = s.pad_top > 0 || s.pad_left > 0 || reach_h > s.height || reach_w > s.width;
  p->row_floats = (p->copies ? reach_w : s.width) * s.channels;
  const bool one_tap = s.group > 1 || s.dilation_w > 1;
  p->n_segments = one_tap ? s.kernel_h * s.kernel_w : s.kernel_h;
  p->length = one_tap ? s.channels / s.group : s.kernel_w * s.channels;

  const int64_t pixels = s.out_height * s.out_width, k = p->n_segments * p->length;
  p->weights_at = rounded(p->n_segments, kCacheLine / 8) * 8;
  const int64_t weights = k * s.out_channels, moved = s.batch * pixels * (s.out_channels + k / (s.kernel_h * s.kernel_w));
  p->by_columns = s.group == 1 && panels_of(s.out_channels) > 1 && (pixels < kRowsPerUnit || weights > 4 * moved);
  p->unit_pixels = p->copies || s.out_height > 1 ? most(s.out_width, 1) : kRowsPerUnit;
  p->units_per_image = ceil_div(pixels, p->unit_pixels);
  p->padded_floats = 0;
  const bool deferred = p->act.code > kClip;
  const int64_t finished = deferred ? rounded(ceil_div(kFinishedFloats, most(s.out_channels, 1)), kRowsPerUnit) : pixels;
  if (p->copies) {
    const int64_t room = kPaddedFloats / most(p->row_floats, 1) - s.span_h();
    const int64_t rows = most(1, least(least(s.out_height, ceil_div(finished, most(s.out_width, 1))), room / s.stride_h + 1));
    p->block_pixels = rows * s.out_width;
    p->padded_floats = ((rows - 1) * s.stride_h + s.span_h()) * p->row_floats;
  } else {
    p->block_pixels = least(least(pixels, finished), rounded(most(kBlockFloats / most(k, 1), 1), kRowsPerUnit));
  }
  p->winograd = winograd_chosen(s, &p->w);
  resolve_audit(r, s, whole_rows, p);
  return Status::ok;
}

Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, &p));
  const ConvShape& s = p.s;
  const int64_t k = p.n_segments * p.length, outputs = r.out[0].elements();
  need->params = sizeof p;
  need->packed = p.audit.on ? p.audit.at + audit_packed(p.audit) : packed_bytes(p);
  need->table = p.winograd ? 0 : static_cast<size_t>(p.weights_at);
  need->scratch = static_cast<size_t>(rounded(p.block_pixels, 8) * 8 + p.padded_floats * 4);
  need->units = outputs == 0 ? 0 : p.by_columns ? panels_of(s.out_channels) : s.batch * p.units_per_image;
  if (p.winograd) {
    need->scratch = winograd_scratch_bytes(s, p.w);
    need->units = outputs == 0 ? 0 : p.w.by_columns ? panels_of(s.out_channels) : s.batch * p.w.tiles_high;
  }
  if (need->scratch < audit_scratch(p.audit)) need->scratch = audit_scratch(p.audit);
  need->audit_units = audit_units(p.audit);
  need->audit_sums = static_cast<int32_t>(audit_sums(p.audit));
  need->audit_bound = audit_bound(p.audit, p.winograd ? winograd_roundings(s) : static_cast<double>(k));
  need->work = 2.0 * static_cast<double>(outputs) * static_cast<double>(k);
  need->bytes = 4.0 * static_cast<double>(r.in[0].elements() + r.in[1].elements() + outputs);
  return Status::ok;
}

Status prepare(const Request& r, void* params, void* packed) {
  Params& p = *static_cast<Params*>(params);
  EDGERUN_TRY(resolve(r, &p));
  const ConvShape& s = p.s;
  if (p.audit.on) {
    const Audit& a = p.audit;
    pack_audit(a, r.in[1].as<const float>(), a.columns * a.k, 1, a.k, 1.f, r.has(2) ? r.in[2].as<const float>() : nullptr,
               reinterpret_cast<float*>(static_cast<char*>(packed) + a.at));
  }
  if (p.winograd) {
    winograd_pack(s, p.w, r.in[1].as<const float>(), static_cast<float*>(packed));
    return Status::ok;
  }
  int64_t* segments = static_cast<int64_t*>(packed);
  for (int64_t i = 0; i < p.n_segments; ++i) {
    const int64_t taps = p.n_segments / s.kernel_h;
    segments[i] = i / taps * s.dilation_h * p.row_floats + i % taps * s.dilation_w * s.channels;
  }
  const int64_t k = p.n_segments * p.length, columns = s.out_channels / s.group;
  float* out = reinterpret_cast<float*>(static_cast<char*>(packed) + p.weights_at);
  for (int64_t g = 0; g < s.group; ++g)
    pack_panels(r.in[1].as<const float>() + g * columns * k, k, columns, 1, k, 1.f, 0, panels_of(columns),
                out + g * rounded(packed_floats(k, columns), 16));
  return Status::ok;
}

// Input rows [from, from + rows) of one image with their margins; from may be negative.
void copy_padded(const Params& p, const float* x, int64_t from, int64_t rows, float* out) {
  const ConvShape& s = p.s;
  const int64_t left = least(s.pad_left * s.channels, p.row_floats);
  const int64_t copied = most(0, least(s.width * s.channels, p.row_floats - left));
  const int64_t right = p.row_floats - left - copied;
  for (int64_t i = from; i < from + rows; ++i, out += p.row_floats) {
    if (i < 0 || i >= s.height) {
      __builtin_memset(out, 0, static_cast<size_t>(p.row_floats) * 4);
      continue;
    }
    __builtin_memset(out, 0, static_cast<size_t>(left) * 4);
    __builtin_memcpy(out + left, x + i * s.width * s.channels, static_cast<size_t>(copied) * 4);
    __builtin_memset(out + left + copied, 0, static_cast<size_t>(right) * 4);
  }
}

const float* optional(const Run& r, int32_t k) {
  return r.n_in > k && !r.in[k].absent() ? r.in[k].as<const float>() : nullptr;
}

// Output pixels [begin, end) of image n, panels [first, last).
void run_pixels(const Run& r, const Params& p, int64_t n, int64_t begin, int64_t end, int64_t first, int64_t last) {
  const ConvShape& s = p.s;
  const float* x = r.in[0].as<const float>() + n * s.height * s.width * s.channels;
  const float** rows = static_cast<const float**>(r.scratch);
  float* padded = reinterpret_cast<float*>(rows + rounded(p.block_pixels, 8));
  const int64_t columns = s.out_channels / s.group, k = p.n_segments * p.length, pixels = s.out_height * s.out_width;
  const int64_t group_floats = rounded(packed_floats(k, columns), 16);

  Product product{};
  product.segments = static_cast<const int64_t*>(r.packed);
  product.n_segments = p.n_segments, product.length = p.length;
  product.b_row = kPanel, product.b_panel = k * kPanel;
  product.ldc = s.out_channels, product.columns = columns;
  product.act = p.act, product.sink = r.sink;
  product.seen = p.audit.on && r.sink ? r.sink->checksum->seen : nullptr;
  product.seen_shift = p.audit.shift;
  const float* weights = reinterpret_cast<const float*>(static_cast<const char*>(r.packed) + p.weights_at);
  const float *bias = optional(r, 2), *residual = optional(r, 3);

  for (int64_t at = begin; at < end;) {
    const int64_t m = least(p.block_pixels, end - at);
    int64_t oy = at / s.out_width, ox = at % s.out_width;
    const float* base = x;
    if (p.copies) {
      const int64_t top = oy * s.stride_h - s.pad_top, last_oy = (at + m - 1) / s.out_width;
      copy_padded(p, x, top, (last_oy - oy) * s.stride_h + s.span_h(), padded);
      base = padded - oy * s.stride_h * p.row_floats;
    }
    for (int64_t i = 0; i < m; ++i) {
      rows[i] = base + oy * s.stride_h * p.row_floats + ox * s.stride_w * s.channels;
      if (++ox == s.out_width) ox = 0, ++oy;
    }
    for (int64_t g = 0; g < s.group; ++g) {
      product.flat = n * pixels * s.out_channels + g * columns;
      product.b = weights + g * group_floats;
      product.bias = bias ? bias + g * columns : nullptr;
      product.residual = residual ? residual + product.flat : nullptr;
      product.c = r.out[0].as<float>() + product.flat;
      locate_fault(&product, pixels);
      multiply_then_finish(product, rows, at, m, first, last, true);
      if (s.group > 1)
        for (int64_t i = 0; i < m; ++i) rows[i] += s.channels / s.group;
    }
    if (r.sink) r.sink->checked += static_cast<uint64_t>(m * s.group * (least(last * kPanel, columns) - first * kPanel));
    at += m;
  }
}

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  if (p.winograd) {
    WinogradRun w{&p.s, &p.w, r.in[0].as<const float>(), static_cast<const float*>(r.packed), {}, static_cast<float*>(r.scratch)};
    w.product.bias = optional(r, 2), w.product.residual = optional(r, 3);
    w.product.c = r.out[0].as<float>();
    w.product.ldc = w.product.columns = p.s.out_channels;
    w.product.act = p.act, w.product.sink = r.sink;
    w.product.seen = p.audit.on && r.sink ? r.sink->checksum->seen : nullptr;
    w.product.seen_shift = p.audit.shift;
    if (p.w.by_columns) return winograd_rows(w, 0, p.s.batch * p.w.tiles_high, r.begin, r.end);
    return winograd_rows(w, r.begin, r.end, 0, panels_of(p.s.out_channels));
  }
  const int64_t pixels = p.s.out_height * p.s.out_width, panels = panels_of(p.s.out_channels / p.s.group);
  if (p.by_columns) {
    for (int64_t n = 0; n < p.s.batch; ++n) run_pixels(r, p, n, 0, pixels, r.begin, r.end);
    return;
  }
  for (int64_t unit = r.begin; unit < r.end;) {
    const int64_t n = unit / p.units_per_image, inside = unit % p.units_per_image;
    const int64_t stop = least(p.units_per_image, inside + (r.end - unit));
    run_pixels(r, p, n, inside * p.unit_pixels, least(pixels, stop * p.unit_pixels), 0, panels);
    unit += stop - inside;
  }
}

void audit(const Run& r) { audit_product(r, static_cast<const Params*>(r.params)->audit); }

}  // namespace
extern const Kernel conv2d_f32_kernel{"conv2d_f32", query, prepare, run, audit};
EDGERUN_ISA_END
