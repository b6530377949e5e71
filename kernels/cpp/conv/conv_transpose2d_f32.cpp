// conv_transpose2d_f32: y[n, iy sh - pt + ky dh, ix sw - pl + kx dw, co] += x[n, iy, ix, ci] w[co, ky, kx, ci], then bias and
// activation; w[Co/g, KH, KW, Ci], where output channel co of group q uses input channels [q Ci/g, (q+1) Ci/g).
//
// Output pixels of one phase (oy mod sh, ox mod sw) use the same taps: each phase is an ordinary stride-1 convolution with
// those taps, so it runs on the same tiles, over a copy of the input with a margin of zeros. Output sizes come from the
// output operand (output_padding is the planner's affair). NaN in, NaN out. |error| <= K eps sum |x||w|.
#include "conv/conv_shape.h"
#include "matmul/gemm.h"

EDGERUN_ISA_BEGIN
namespace {

struct Params {
  ConvShape s;
  ActParams act;
  int64_t top, left, tall, wide;  // margin before the image, size of the padded copy in pixels
  int64_t longest;                // output pixels of one phase in a row
};

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }
int64_t modulo(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }

Status resolve(const Request& r, Params* p) {
  EDGERUN_TRY(conv_operands(r));
  if (r.has(3)) return Status::bad_arity;
  EDGERUN_TRY(read_activation(r.attrs, &p->act));
  ConvShape& s = p->s;
  const TensorView& w = r.in[1];
  if (w.rank != 4) return Status::bad_rank;
  s.kernel_h = w.dims[1], s.kernel_w = w.dims[2];
  EDGERUN_TRY(conv_geometry(r, true, &s));
  s.group = r.attrs.i("group", 1);
  if (s.group < 1) return Status::bad_attribute;
  if (s.channels % s.group || s.out_channels != w.dims[0] * s.group || w.dims[3] != s.channels) return Status::bad_shape;
  // input rows reached: floor((oy + pt - ky dh) / sh) over all oy and ky
  p->top = most(0, -floor_div(s.pad_top - (s.kernel_h - 1) * s.dilation_h, s.stride_h));
  p->left = most(0, -floor_div(s.pad_left - (s.kernel_w - 1) * s.dilation_w, s.stride_w));
  p->tall = p->top + most(s.height, floor_div(s.out_height - 1 + s.pad_top, s.stride_h) + 1);
  p->wide = p->left + most(s.width, floor_div(s.out_width - 1 + s.pad_left, s.stride_w) + 1);
  p->longest = ceil_div(s.out_width, s.stride_w);
  int64_t floats;
  if (__builtin_mul_overflow(p->tall, p->wide, &floats) || __builtin_mul_overflow(floats, most(s.channels, 1), &floats) ||
      floats > (int64_t{1} << 40))
    return Status::too_large;
  return Status::ok;
}

// Taps of a phase along one axis: k with (phase + pad - k dilation) divisible by stride.
bool tap_in_phase(int64_t phase, int64_t pad, int64_t k, int64_t dilation, int64_t stride) {
  return modulo(phase + pad - k * dilation, stride) == 0;
}

// `packed`: for each phase its count of taps and their offsets (padded to a cache line), then for each phase its groups' panels.
int64_t table_bytes(const Params& p) { return ceil_div((p.s.kernel_h * p.s.kernel_w + 1) * 8, kCacheLine) * kCacheLine; }
int64_t weight_bytes(const Params& p) {
  const ConvShape& s = p.s;
  return s.group * ceil_div(packed_floats(s.kernel_h * s.kernel_w * (s.channels / s.group), s.out_channels / s.group), 16) * kCacheLine;
}
int64_t phases_of(const ConvShape& s) { return least(s.stride_h, most(s.out_height, 1)) * least(s.stride_w, most(s.out_width, 1)); }

Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, &p));
  const ConvShape& s = p.s;
  const int64_t phases = phases_of(s);
  need->params = sizeof p;
  if (phases > (int64_t{1} << 20)) return Status::too_large;
  need->table = static_cast<size_t>(phases * table_bytes(p));
  need->packed = static_cast<size_t>(phases * (table_bytes(p) + weight_bytes(p)));
  need->scratch = static_cast<size_t>(ceil_div(p.longest, 8) * kCacheLine + p.tall * p.wide * s.channels * 4);
  need->units = r.out[0].elements() == 0 ? 0 : s.batch * s.out_height;
  need->work = 2.0 * static_cast<double>(s.batch * s.height * s.width) * static_cast<double>(r.in[1].elements());
  need->bytes = 4.0 * static_cast<double>(r.in[0].elements() + r.in[1].elements() + r.out[0].elements());
  return Status::ok;
}

Status prepare(const Request& r, void* params, void* packed) {
  Params& p = *static_cast<Params*>(params);
  EDGERUN_TRY(resolve(r, &p));
  const ConvShape& s = p.s;
  const int64_t deep = s.channels / s.group, columns = s.out_channels / s.group, taps = s.kernel_h * s.kernel_w;
  const float* w = r.in[1].as<const float>();
  char *table = static_cast<char*>(packed), *weights = table + phases_of(s) * table_bytes(p);
  for (int64_t py = 0; py < least(s.stride_h, s.out_height); ++py) {
    for (int64_t px = 0; px < least(s.stride_w, s.out_width); ++px, table += table_bytes(p), weights += weight_bytes(p)) {
      int64_t* offsets = reinterpret_cast<int64_t*>(table);
      float* out = reinterpret_cast<float*>(weights);
      int64_t count = 0;
      for (int64_t ky = 0; ky < s.kernel_h; ++ky)
        for (int64_t kx = 0; kx < s.kernel_w; ++kx)
          if (tap_in_phase(py, s.pad_top, ky, s.dilation_h, s.stride_h) &&
              tap_in_phase(px, s.pad_left, kx, s.dilation_w, s.stride_w))
            offsets[1 + count++] = ((floor_div(py + s.pad_top - ky * s.dilation_h, s.stride_h) + p.top) * p.wide +
                                    floor_div(px + s.pad_left - kx * s.dilation_w, s.stride_w) + p.left) * s.channels;
      offsets[0] = count;
      const int64_t k = count * deep;
      for (int64_t g = 0; g < s.group; ++g, out += ceil_div(packed_floats(taps * deep, columns), 16) * 16) {
        int64_t tap = 0;
        for (int64_t ky = 0; ky < s.kernel_h; ++ky)
          for (int64_t kx = 0; kx < s.kernel_w; ++kx) {
            if (!tap_in_phase(py, s.pad_top, ky, s.dilation_h, s.stride_h) ||
                !tap_in_phase(px, s.pad_left, kx, s.dilation_w, s.stride_w))
              continue;
            const float* from = w + (ky * s.kernel_w + kx) * s.channels + g * deep;
            for (int64_t n = 0; n < panels_of(columns) * kPanel; ++n) {
              const int64_t panel = n / kPanel, width = panel_width(columns, panel), lane = n % kPanel;
              if (lane >= width) continue;
              float* to = out + panel * k * kPanel + tap * deep * width + lane;
              for (int64_t c = 0; c < deep; ++c) to[c * width] = n < columns ? from[n * taps * s.channels + c] : 0.f;
            }
            ++tap;
          }
      }
    }
  }
  return Status::ok;
}

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const ConvShape& s = p.s;
  const int64_t deep = s.channels / s.group, columns = s.out_channels / s.group, taps = s.kernel_h * s.kernel_w;
  const float** rows = static_cast<const float**>(r.scratch);
  float* padded = reinterpret_cast<float*>(static_cast<char*>(r.scratch) + ceil_div(p.longest, 8) * kCacheLine);
  const float* bias = r.n_in > 2 && !r.in[2].absent() ? r.in[2].as<const float>() : nullptr;
  const int64_t line = p.wide * s.channels, group_floats = ceil_div(packed_floats(taps * deep, columns), 16) * 16;
  const int64_t across = least(s.stride_w, s.out_width);
  int64_t copied = -1;
  for (int64_t unit = r.begin; unit < r.end; ++unit) {
    const int64_t n = unit / s.out_height, oy = unit % s.out_height, py = oy % s.stride_h;
    if (n != copied) {
      __builtin_memset(padded, 0, static_cast<size_t>(p.tall * line) * 4);
      const float* x = r.in[0].as<const float>() + n * s.height * s.width * s.channels;
      for (int64_t i = 0; i < s.height; ++i)
        __builtin_memcpy(padded + (i + p.top) * line + p.left * s.channels, x + i * s.width * s.channels,
                         static_cast<size_t>(s.width * s.channels) * 4);
      copied = n;
    }
    for (int64_t px = 0; px < across; ++px) {
      const char *tables = static_cast<const char*>(r.packed), *panels = tables + phases_of(s) * table_bytes(p);
      const int64_t* offsets = reinterpret_cast<const int64_t*>(tables + (py * across + px) * table_bytes(p));
      const float* weights = reinterpret_cast<const float*>(panels + (py * across + px) * weight_bytes(p));
      const int64_t m = ceil_div(s.out_width - px, s.stride_w);
      for (int64_t g = 0; g < s.group; ++g) {
        for (int64_t i = 0; i < m; ++i) rows[i] = padded + oy / s.stride_h * line + i * s.channels + g * deep;
        Product product{};
        product.segments = offsets + 1, product.n_segments = offsets[0], product.length = deep;
        product.b = weights + g * group_floats;
        product.b_row = kPanel, product.b_panel = offsets[0] * deep * kPanel;
        product.bias = bias ? bias + g * columns : nullptr;
        product.flat = ((n * s.out_height + oy) * s.out_width + px) * s.out_channels + g * columns;
        product.c = r.out[0].as<float>() + product.flat;
        product.ldc = s.stride_w * s.out_channels, product.columns = columns;
        product.act = p.act, product.sink = r.sink;
        locate_fault(&product, m);
        multiply_then_finish(product, rows, 0, m, 0, panels_of(columns), true);
      }
    }
    if (r.sink) r.sink->checked += static_cast<uint64_t>(s.out_width * s.out_channels);
  }
}

}  // namespace
extern const Kernel conv_transpose2d_f32_kernel{"conv_transpose2d_f32", query, prepare, run};
EDGERUN_ISA_END
