// conv2d_dw_f32: depthwise convolution, y[n, oy, ox, c] = act(sum over ky, kx of x[n, oy sh - pt + ky dh, ox sw - pl + kx dw, c / m]
//                                                             w[ky, kx, c] + b[c] + r[n, oy, ox, c]).
//
// Vectorised over channels. Where windows lie inside the image, several output pixels of a row share the loads of their inputs
// (span_tiles); at the edges the same is done through a table of pointers, outside pixels pointing at zeros (edge_tile). Other
// kernel widths, the last partial vector of channels and m > 1 take one pixel at a time.
// Weights are packed [channel vector][tap][kLanes]. NaN in, NaN out. |error| <= taps eps sum |x||w|.
#include "conv/conv_shape.h"
#include "conv/expect_dw.h"
#include "matmul/gemm.h"
#include "matmul/tile.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int kEdgeRows = 7;  // kernel rows the pointer table of an edge tile has room for

struct Params {
  ConvShape s;
  int64_t multiplier;
  ActParams act;
  Audit audit;  // of its own form: channel by channel
};

size_t weight_bytes(const ConvShape& s) {
  return static_cast<size_t>(ceil_div(s.out_channels, kLanes) * (s.kernel_h * s.kernel_w + 1) * kVectorBytes);
}

Status resolve(const Request& r, Params* p) {
  EDGERUN_TRY(conv_operands(r));
  EDGERUN_TRY(read_activation(r.attrs, &p->act));
  const TensorView& w = r.in[1];
  if (w.rank != 3) return Status::bad_rank;
  p->s.kernel_h = w.dims[0], p->s.kernel_w = w.dims[1];
  EDGERUN_TRY(conv_geometry(r, false, &p->s));
  p->s.group = p->s.channels;
  if (w.dims[2] != p->s.out_channels) return Status::bad_shape;
  if (p->s.channels == 0 ? p->s.out_channels != 0 : p->s.out_channels % p->s.channels != 0) return Status::bad_shape;
  p->multiplier = p->s.channels == 0 ? 1 : p->s.out_channels / p->s.channels;
  const ConvShape& s = p->s;
  Audit& a = p->audit;
  a = {};
  a.is_signed = r.attrs.i("nonnegative") == 0;
  a.pixels = s.out_height * s.out_width, a.batch = s.batch, a.channels = s.channels, a.k = s.kernel_h * s.kernel_w;
  a.on = audit_wanted(r) && tap_axis(s.height, s.out_height, s.kernel_h, s.stride_h, s.dilation_h, s.pad_top, &a.rows) &&
         tap_axis(s.width, s.out_width, s.kernel_w, s.stride_w, s.dilation_w, s.pad_left, &a.across);
  a.bands = 1, a.shift = kOneBand;
  a.at = audit_round(weight_bytes(s));
  return Status::ok;
}

Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, &p));
  const ConvShape& s = p.s;
  const int64_t outputs = r.out[0].elements(), taps = s.kernel_h * s.kernel_w;
  need->params = sizeof p;
  need->packed = weight_bytes(s);
  if (p.audit.on) {
    need->packed = p.audit.at + audit_round(static_cast<size_t>((audit_cells(p.audit) + 1) * s.out_channels + 2 * kLanes) * 4);
    need->scratch = audit_scratch(p.audit);
    need->audit_units = audit_units(p.audit);
    need->audit_sums = kLanes;
    need->audit_bound = audit_bound(p.audit, static_cast<double>(p.audit.k));
  }
  need->units = outputs == 0 ? 0 : s.batch * s.out_height;
  need->work = 2.0 * static_cast<double>(outputs) * static_cast<double>(taps);
  need->bytes = 4.0 * static_cast<double>(r.in[0].elements() + r.in[1].elements() + outputs);
  return Status::ok;
}

// sum over oy, ox of y[.., c] = sum over cells of (sum of x over the cell) (sum of w[.., c] over its taps) + P b[c].
void audit(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const Audit& a = p.audit;
  const int64_t channels = p.s.out_channels, cells = audit_cells(a), m = p.multiplier;
  const float* w = reinterpret_cast<const float*>(static_cast<const char*>(r.packed) + a.at);
  const float* far = w + cells * channels;
  Checksum& check = *r.sink->checksum;
  SeenSum expected;
  vf magnitude = zero(), sizes = zero();
  int64_t c = 0;
  if (m == 1) c = (a.is_signed ? expect_all<true> : expect_all<false>)(r, a, w, far, expected, magnitude, sizes);
  if (c < channels) {  // what is no whole vector, several outputs a channel, or more runs than registers
    float *sum = static_cast<float*>(r.scratch), *size = sum + cells * a.channels;
    cell_sums(r.in[0].as<const float>(), a.channels, a.rows, a.across, a.is_signed, r.begin, r.end, sum, size, size + a.channels);
    for (; c < channels; c += kLanes) {
      const int n = static_cast<int>(least(kLanes, channels - c));
      float lanes[2][kLanes] = {};
      vf total = zero();
      for (int64_t cell = 0; cell < cells; ++cell) {
        for (int k = 0; k < n; ++k) lanes[0][k] = sum[cell * a.channels + (c + k) / m], lanes[1][k] = w[cell * channels + c + k];
        total = fma(loadu(lanes[0]), loadu(lanes[1]), total);
      }
      expected.add(total);
      for (int k = 0; k < n; ++k) lanes[0][k] = size[(c + k) / m], lanes[1][k] = far[c + k];
      magnitude = fma(loadu(lanes[0]), loadu(lanes[1]), magnitude);
      sizes = add(sizes, loadu(lanes[0]));
    }
  }
  expected.to(check.expected);
  check.magnitude += reduce_max(magnitude);
  check.size += reduce_add(sizes) / static_cast<float>(m);
  if (r.begin == 0) audit_bias(a, far + channels, &check);
}

Status prepare(const Request& r, void* params, void* packed) {
  Params& p = *static_cast<Params*>(params);
  EDGERUN_TRY(resolve(r, &p));
  const int64_t taps = p.s.kernel_h * p.s.kernel_w, channels = p.s.out_channels;
  const float* w = r.in[1].as<const float>();
  float* out = static_cast<float*>(packed);
  for (int64_t c = 0; c < channels; c += kLanes)
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t k = 0; k < kLanes; ++k) *out++ = c + k < channels ? w[t * channels + c + k] : 0.f;
  __builtin_memset(out, 0, static_cast<size_t>(ceil_div(channels, kLanes) * kVectorBytes));  // what edge tiles read outside
  if (!p.audit.on) return Status::ok;
  pack_own_audit(r, p.audit, p.s.out_channels, reinterpret_cast<float*>(static_cast<char*>(packed) + p.audit.at));
  return Status::ok;
}

// One output row.
struct Row {
  const Params* p;
  Product* out;          // C is the image: row = pixel, column = channel
  const float* x;        // the image
  const float *w, *zeros;
  int64_t oy, top;       // output row, input row of the first tap (may be negative)
  int64_t ky0, ky1;      // taps inside the image
};

EDGERUN_SIMD vf bias_of(const Product& g, int64_t c, int n) {
  return !g.bias ? zero() : n == kLanes ? loadu(g.bias + c) : load_partial(g.bias + c, n);
}

inline constexpr int kAtTheEnd = -1;

// `count` tiles of kPixels neighbouring output pixels from ox on, all windows inside the row; channels [0, whole), whole a
// multiple of kLanes. With kCode an activation, a pixel is finished and checked as soon as its last tap is in, among the taps
// of the others: the checks then run on units the multiply-adds leave free. kAtTheEnd: anything else (residual, checks off,
// raw results; emit sums these). kSummed: the accumulators are summed for the checksum.
template <int kPixels, int kWidth, int kStride, int kCode, bool kSummed>
static EDGERUN_NOINLINE void span_tiles(const Row& row, int64_t ox, int64_t count, int64_t whole) {
  constexpr int kColumns = (kPixels - 1) * kStride + kWidth;
  constexpr bool kEarly = kCode != kAtTheEnd;
  const ConvShape& s = row.p->s;
  const Product& g = *row.out;
  const int64_t channels = s.channels, line = s.width * channels, skipped = (s.kernel_h - (row.ky1 - row.ky0)) * kWidth * kLanes;
  const int64_t rows = row.ky1 - row.ky0 - kEarly, ldc = g.ldc, from = row.oy * s.out_width + ox;
  const ActVectors act(g.act);
  Checker seen;
  SeenSum sum;
  for (int64_t tile = 0; tile < count; ++tile) {
    const int64_t pixel = from + tile * kPixels;
    const float* first = row.x + (row.top + row.ky0) * line + ((ox + tile * kPixels) * kStride - s.pad_left) * channels;
    const float* tap = row.w + row.ky0 * kWidth * kLanes;
    float* out = g.c + pixel * ldc;
    for (int64_t c = 0; c < whole; c += kLanes, tap += skipped) {
      vf acc[kPixels][1];
      const vf bias = bias_of(g, c, kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kPixels; ++i) acc[i][0] = bias;
      const float* in = first + c;
      for (int64_t ky = 0; ky < rows; ++ky, in += line, tap += kWidth * kLanes) {
        vf w[kWidth];
#pragma GCC unroll 8
        for (int k = 0; k < kWidth; ++k) w[k] = loadu(tap + k * kLanes);
#pragma GCC unroll 24
        for (int j = 0; j < kColumns; ++j) {
          const vf v = loadu(in + j * channels);
#pragma GCC unroll 8
          for (int i = 0; i < kPixels; ++i) {
            const int k = j - i * kStride;
            if (k >= 0 && k < kWidth) acc[i][0] = fma(v, w[k], acc[i][0]);
          }
        }
      }
      if constexpr (kEarly) {
        vf w[kWidth];
#pragma GCC unroll 8
        for (int k = 0; k < kWidth; ++k, tap += kLanes) w[k] = loadu(tap);
#pragma GCC unroll 24
        for (int j = 0; j < kColumns; ++j) {
          const vf v = loadu(in + j * channels);
#pragma GCC unroll 8
          for (int i = 0; i < kPixels; ++i) {
            const int k = j - i * kStride;
            if (k >= 0 && k < kWidth) acc[i][0] = fma(v, w[k], acc[i][0]);
            if (k == kWidth - 1) storeu(out + i * ldc + c, activate<kCode, true>(acc[i][0], act, seen));
          }
        }
        if (kSummed) sum.add(sum_tile(acc));
      } else {
        emit(g, acc, pixel, c, kLanes);
      }
    }
  }
  if (kEarly) fold(seen, g.sink, g.flat + from * ldc, 0);
  if (kSummed) sum.to(g.seen);
}

// The same for windows that may leave the row: `at` holds the address of every input column of each kernel row.
template <int kPixels, int kWidth, int kStride, int kCode, bool kSummed>
static EDGERUN_NOINLINE void edge_tile(const Row& row, int64_t ox, int64_t whole) {
  constexpr int kColumns = (kPixels - 1) * kStride + kWidth;
  const ConvShape& s = row.p->s;
  const Product& g = *row.out;
  const int64_t channels = s.channels, line = s.width * channels, taps = s.kernel_h * kWidth;
  const int64_t rows = row.ky1 - row.ky0, pixel = row.oy * s.out_width + ox;
  const float* at[kEdgeRows][kColumns];
  for (int64_t ky = 0; ky < rows; ++ky)
    for (int j = 0; j < kColumns; ++j) {
      const int64_t ix = ox * kStride - s.pad_left + j;
      at[ky][j] = ix >= 0 && ix < s.width ? row.x + (row.top + row.ky0 + ky) * line + ix * channels : row.zeros;
    }
  const float* weights = row.w + row.ky0 * kWidth * kLanes;
  const int64_t ldc = g.ldc;
  float* const out = g.c + pixel * ldc;
  const ActVectors act(g.act);
  Checker seen;
  SeenSum sum;
  for (int64_t c = 0; c < whole; c += kLanes, weights += taps * kLanes) {
    vf acc[kPixels][1];
    const vf bias = bias_of(g, c, kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kPixels; ++i) acc[i][0] = bias;
    const float* tap = weights;
    for (int64_t ky = 0; ky < rows; ++ky, tap += kWidth * kLanes) {
      vf w[kWidth];
#pragma GCC unroll 8
      for (int k = 0; k < kWidth; ++k) w[k] = loadu(tap + k * kLanes);
#pragma GCC unroll 24
      for (int j = 0; j < kColumns; ++j) {
        const vf v = loadu(at[ky][j] + c);
#pragma GCC unroll 8
        for (int i = 0; i < kPixels; ++i) {
          const int k = j - i * kStride;
          if (k >= 0 && k < kWidth) acc[i][0] = fma(v, w[k], acc[i][0]);
        }
      }
    }
    if (kSummed) sum.add(sum_tile(acc));
    if constexpr (kCode == kAtTheEnd) {
      emit(g, acc, pixel, c, kLanes);
    } else {
#pragma GCC unroll 8
      for (int i = 0; i < kPixels; ++i) storeu(out + i * ldc + c, activate<kCode, true>(acc[i][0], act, seen));
    }
  }
  if (kCode != kAtTheEnd) fold(seen, g.sink, g.flat + pixel * g.ldc, 0);
  if (kSummed) sum.to(g.seen);
}

// Pixels one by one, channels [from, out_channels), any geometry. kCode: as of span_tiles; the checksum's sums are taken along then.
template <int kCode>
EDGERUN_NOINLINE void pixels(const Row& row, int64_t from) {
  constexpr bool kEarly = kCode != kAtTheEnd;
  const ConvShape& s = row.p->s;
  const Product& g = *row.out;
  const int64_t line = s.width * s.channels, m = row.p->multiplier, first = row.oy * s.out_width;
  const ActVectors act(g.act);
  Checker seen;
  TileSum sum;
  for (int64_t ox = 0; ox < s.out_width; ++ox) {
    const int64_t left = ox * s.stride_w - s.pad_left;
    const int64_t kx0 = left < 0 ? ceil_div(-left, s.dilation_w) : 0;
    const int64_t kx1 = s.width <= left ? kx0 : least(s.kernel_w, (s.width - 1 - left) / s.dilation_w + 1);
    for (int64_t c = from; c < s.out_channels; c += kLanes) {
      const int n = static_cast<int>(least(kLanes, s.out_channels - c));
      vf acc[1][1] = {{bias_of(g, c, n)}};
      for (int64_t ky = row.ky0; ky < row.ky1; ++ky) {
        const float* in = row.x + (row.top + ky * s.dilation_h) * line + left * s.channels;
        const float* w = row.w + (c / kLanes * s.kernel_h + ky) * s.kernel_w * kLanes;
        for (int64_t kx = kx0; kx < kx1; ++kx) {
          const float* at = in + kx * s.dilation_w * s.channels;
          vf v;
          if (m == 1) {
            v = n == kLanes ? loadu(at + c) : load_partial(at + c, n);
          } else {
            float lanes[kLanes] = {};
            for (int k = 0; k < n; ++k) lanes[k] = at[(c + k) / m];
            v = loadu(lanes);
          }
          acc[0][0] = fma(v, loadu(w + kx * kLanes), acc[0][0]);
        }
      }
      if constexpr (kEarly) {
        sum.take(acc[0][0]);
        float* to = g.c + (first + ox) * g.ldc + c;
        const vf y = activate<kCode, true>(acc[0][0], act, seen);
        if (n == kLanes) storeu(to, y);
        else store_partial(to, y, n);
      } else {
        emit(g, acc, first + ox, c, n);
      }
    }
  }
  if (!kEarly) return;
  fold(seen, g.sink, g.flat + first * g.ldc, 0);
  if (g.seen) sum.to(g.seen);
}

// A whole row with kernel width kWidth; pixels [begin, end) have their windows inside.
template <int kWidth, int kStride, int kCode, bool kSummed>
void tiles(const Row& row, int64_t begin, int64_t end, int64_t whole) {
  const int64_t width = row.p->s.out_width;
  for (int64_t ox = 0; ox < width;) {
    const int64_t room = ox >= begin ? end - ox : 0;
    if (room >= 8) {
      span_tiles<8, kWidth, kStride, kCode, kSummed>(row, ox, room / 8, whole);
      ox += room / 8 * 8;
    } else if (room >= 4) {
      span_tiles<4, kWidth, kStride, kCode, kSummed>(row, ox, 1, whole);
      ox += 4;
    } else {
      const int64_t left = width - ox, n = left <= 6 ? left : 4;
      if (n == 6) edge_tile<6, kWidth, kStride, kCode, kSummed>(row, ox, whole);
      else if (n == 5) edge_tile<5, kWidth, kStride, kCode, kSummed>(row, ox, whole);
      else if (n == 4) edge_tile<4, kWidth, kStride, kCode, kSummed>(row, ox, whole);
      else if (n == 3) edge_tile<3, kWidth, kStride, kCode, kSummed>(row, ox, whole);
      else if (n == 2) edge_tile<2, kWidth, kStride, kCode, kSummed>(row, ox, whole);
      else edge_tile<1, kWidth, kStride, kCode, kSummed>(row, ox, whole);
      ox += n;
    }
  }
}

// Activation and checks are those of one pass, for which no fault is armed in this row.
bool finishes_early(const Row& row) {
  const Product& g = *row.out;
  return g.sink && !g.residual && row.ky1 > row.ky0;
}

template <int kWidth, int kStride>
void tiles_of(const Row& row, int64_t begin, int64_t end, int64_t whole) {
  const Product& g = *row.out;
  const bool early = finishes_early(row);
  if (early && g.act.code == kRelu) (g.seen ? tiles<kWidth, kStride, kRelu, true> : tiles<kWidth, kStride, kRelu, false>)(row, begin, end, whole);
  else if (early && g.act.code == kClip) (g.seen ? tiles<kWidth, kStride, kClip, true> : tiles<kWidth, kStride, kClip, false>)(row, begin, end, whole);
  else tiles<kWidth, kStride, kAtTheEnd, false>(row, begin, end, whole);
}

void one_row(const Row& row) {
  const ConvShape& s = row.p->s;
  int64_t whole = row.p->multiplier == 1 ? s.channels / kLanes * kLanes : 0;
  // pixels [begin, end) have their whole window inside the row
  const int64_t begin = least(ceil_div(s.pad_left, s.stride_w), s.out_width), room = s.width + s.pad_left - s.span_w();
  const int64_t end = room < 0 ? begin : most(begin, least(s.out_width, room / s.stride_w + 1));
  if (s.kernel_w != 3 || s.dilation_w != 1 || s.dilation_h != 1 || s.stride_w > 2 || row.ky1 - row.ky0 > kEdgeRows) whole = 0;
  if (whole > 0) {
    if (s.stride_w == 1) tiles_of<3, 1>(row, begin, end, whole);
    else tiles_of<3, 2>(row, begin, end, whole);
  }
  if (whole == s.out_channels) return;
  const int32_t code = finishes_early(row) ? row.out->act.code : kAtTheEnd;
  (code == kRelu ? pixels<kRelu> : code == kClip ? pixels<kClip> : pixels<kAtTheEnd>)(row, whole);
}

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const ConvShape& s = p.s;
  const float* residual = r.n_in > 3 && !r.in[3].absent() ? r.in[3].as<const float>() : nullptr;
  const float* weights = static_cast<const float*>(r.packed);
  for (int64_t unit = r.begin; unit < r.end; ++unit) {
    const int64_t n = unit / s.out_height;
    Product product{};
    product.bias = r.n_in > 2 && !r.in[2].absent() ? r.in[2].as<const float>() : nullptr;
    product.flat = n * s.out_height * s.out_width * s.out_channels;
    product.residual = residual ? residual + product.flat : nullptr;
    product.c = r.out[0].as<float>() + product.flat;
    product.ldc = product.columns = s.out_channels;
    product.act = p.act, product.sink = r.sink;
    product.seen = p.audit.on && r.sink ? r.sink->checksum->seen : nullptr;
    product.seen_shift = p.audit.shift;
    locate_fault(&product, s.out_height * s.out_width);
    Row row{&p, &product, r.in[0].as<const float>() + n * s.height * s.width * s.channels,
            weights, weights + ceil_div(s.out_channels, kLanes) * s.kernel_h * s.kernel_w * kLanes, unit % s.out_height, 0, 0, 0};
    row.top = row.oy * s.stride_h - s.pad_top;
    row.ky0 = row.top < 0 ? ceil_div(-row.top, s.dilation_h) : 0;
    row.ky1 = s.height <= row.top ? row.ky0 : least(s.kernel_h, (s.height - 1 - row.top) / s.dilation_h + 1);
    if (row.ky1 < row.ky0) row.ky1 = row.ky0;

    // activations without a fused form go over the finished row at once, an armed row as well
    const int64_t pixel = row.oy * s.out_width;
    const bool stored = product.seen && p.act.code == kNone;  // emit strikes these itself
    const bool armed = !stored && product.fault_row >= pixel && product.fault_row < pixel + s.out_width;
    Product raw = product;
    if (armed || p.act.code > kClip) {
      raw = raw_of(&product);
      row.out = &raw;
    }
    one_row(row);
    if (row.out == &raw) finish_tile(product, pixel, 0, s.out_width, s.out_channels);
    if (r.sink) r.sink->checked += static_cast<uint64_t>(s.out_width * s.out_channels);
  }
}

}  // namespace
extern const Kernel conv2d_dw_f32_kernel{"conv2d_dw_f32", query, prepare, run, audit};
EDGERUN_ISA_END
