#include "conv/winograd.h"

#include "matmul/tile.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int64_t kBlockFloats = 80 * 1024;          // of V and M
inline constexpr int64_t kLargestWeights = 5 * 1024 * 1024; // bytes; beyond, the transformed weights stream from memory
inline constexpr int64_t kSkew = 16;                        // floats between planes: they must not share cache sets

int64_t planes(const Winograd& w) { return (w.tile + 2) * (w.tile + 2); }
int64_t aligned(int64_t floats) { return ceil_div(floats, 16) * 16; }
int64_t vectors(int64_t n) { return ceil_div(n, kLanes); }

// B^T d along one axis.
EDGERUN_SIMD void input_transform(const vf (&d)[4], vf (&v)[4]) {
  v[0] = sub(d[0], d[2]);
  v[1] = add(d[1], d[2]);
  v[2] = sub(d[2], d[1]);
  v[3] = sub(d[1], d[3]);
}
EDGERUN_SIMD void input_transform(const vf (&d)[6], vf (&v)[6]) {
  const vf two = broadcast(2.f), four = broadcast(4.f), five = broadcast(-5.f);
  const vf a = fma(neg(four), d[2], d[4]), b = fma(neg(four), d[1], d[3]);
  const vf e = sub(d[4], d[2]), f = sub(d[3], d[1]);
  v[0] = fma(four, d[0], fma(five, d[2], d[4]));
  v[1] = add(a, b);
  v[2] = sub(a, b);
  v[3] = fma(two, f, e);
  v[4] = fma(neg(two), f, e);
  v[5] = fma(four, d[1], fma(five, d[3], d[5]));
}

// A^T m along one axis.
EDGERUN_SIMD void output_transform(const vf (&m)[4], vf (&o)[2]) {
  o[0] = add(m[0], add(m[1], m[2]));
  o[1] = sub(sub(m[1], m[2]), m[3]);
}
EDGERUN_SIMD void output_transform(const vf (&m)[6], vf (&o)[4]) {
  const vf a = add(m[1], m[2]), b = sub(m[1], m[2]), e = add(m[3], m[4]), f = sub(m[3], m[4]);
  o[0] = add(add(m[0], a), e);
  o[1] = fma(broadcast(2.f), f, b);
  o[2] = fma(broadcast(4.f), e, a);
  o[3] = add(fma(broadcast(8.f), f, b), m[5]);
}

// Lanes [0, n) of the kSide x kSide tile at `in` (line: floats between rows) to v, v + stride, ...
template <int kSide, bool kWhole>
EDGERUN_SIMD void transform_in(const float* in, int64_t line, int64_t channels, float* v, int64_t stride, int n) {
  vf half[kSide][kSide];
#pragma GCC unroll 6
  for (int x = 0; x < kSide; ++x) {
    vf d[kSide], t[kSide];
#pragma GCC unroll 6
    for (int y = 0; y < kSide; ++y) {
      const float* at = in + y * line + x * channels;
      d[y] = kWhole ? loadu(at) : load_partial(at, n);
    }
    input_transform(d, t);
#pragma GCC unroll 6
    for (int y = 0; y < kSide; ++y) half[y][x] = t[y];
  }
#pragma GCC unroll 6
  for (int y = 0; y < kSide; ++y) {
    vf t[kSide];
    input_transform(half[y], t);
#pragma GCC unroll 6
    for (int x = 0; x < kSide; ++x) {
      float* at = v + (y * kSide + x) * stride;
      if (kWhole) storeu(at, t[x]);
      else store_partial(at, t[x], n);
    }
  }
}

template <int kTile>
void transform_tiles(const ConvShape& s, const Winograd& w, const float* padded, int64_t rows, float* v) {
  const int64_t line = w.padded_width * s.channels, whole = s.channels / kLanes * kLanes;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < w.tiles_wide; ++j, v += s.channels) {
      const float* in = padded + i * kTile * line + j * kTile * s.channels;
      for (int64_t c = 0; c < whole; c += kLanes) transform_in<kTile + 2, true>(in + c, line, s.channels, v + c, w.v_stride, kLanes);
      if (whole < s.channels)
        transform_in<kTile + 2, false>(in + whole, line, s.channels, v + whole, w.v_stride, static_cast<int>(s.channels - whole));
    }
}

EDGERUN_SIMD vf weigh(vf total, vf value, float weight) {
  return weight == 1 ? add(total, value) : weight == -1 ? sub(total, value) : fma(value, broadcast(weight), total);
}

static EDGERUN_NOINLINE __attribute__((cold)) vf struck(const Product& g, vf value, int64_t lane) {
  vi bits = as_int(value);
  bits[lane] = static_cast<int32_t>(g.fault->strike(static_cast<uint32_t>(bits[lane])));
  return as_float(bits);
}

// The inverse transform of one tile, columns [begin, end); `high` x `wide` of its outputs exist. pixel: of its first output. minus: the
// tile's weights in the checksum have the other sign.
template <int kTile, int kCode, bool kChecked, bool kSummed>
static EDGERUN_NOINLINE void finish_outputs(const ConvShape& s, const Winograd& w, const Product& g, const float* m,
                                            int64_t pixel, int64_t high, int64_t wide, int64_t begin, int64_t end, bool minus) {
  constexpr int kSide = kTile + 2;
  constexpr bool kStored = kSummed && kChecked && kCode == kNone;  // no identity looks at these results: the checksum does (tile.h)
  const ActVectors act(g.act);
  Checker seen;
  for (int64_t c = begin; c < end; c += kLanes) {
    const int n = static_cast<int>(least(kLanes, end - c));
    vf half[kTile][kSide];
#pragma GCC unroll 6
    for (int x = 0; x < kSide; ++x) {
      vf d[kSide], t[kTile];
#pragma GCC unroll 6
      for (int y = 0; y < kSide; ++y) {
        const float* at = m + (y * kSide + x) * w.m_stride + c;
        d[y] = EDGERUN_LIKELY(n == kLanes) ? loadu(at) : load_partial(at, n);
      }
      output_transform(d, t);
#pragma GCC unroll 4
      for (int y = 0; y < kTile; ++y) half[y][x] = t[y];
    }
    const vf bias = !g.bias ? zero() : n == kLanes ? loadu(g.bias + c) : load_partial(g.bias + c, n);
    vf total = zero(), size = zero();
#pragma GCC unroll 4
    for (int y = 0; y < kTile; ++y) {
      if (y >= high) break;
      vf o[kTile];
      output_transform(half[y], o);
#pragma GCC unroll 4
      for (int x = 0; x < kTile; ++x) {
        if (x >= wide) break;
        const int64_t at = (pixel + y * s.out_width + x) * s.out_channels + c;
        vf value = add(o[x], bias);
        const float weight = kTileWeight[kTile][y] * kTileWeight[kTile][x];  // known when this is compiled, and mostly 1
        if (kSummed && !kStored) total = weigh(total, value, weight);
        vf residual = zero();
        if (g.residual) {
          residual = n == kLanes ? loadu(g.residual + at) : load_partial(g.residual + at, n);
          value = add(value, residual);
        }
        if (kStored) {
          if (EDGERUN_UNLIKELY(pixel + y * s.out_width + x == g.fault_row && g.fault_column >= c && g.fault_column < c + n))
            value = struck(g, value, g.fault_column - c);
          total = weigh(total, sub(value, residual), weight);
          size = add(size, abs(residual));
        }
        value = activate<kCode, kChecked>(value, act, seen);
        if (EDGERUN_LIKELY(n == kLanes)) storeu(g.c + at, value);
        else store_partial(g.c + at, value, n);
      }
    }
    if (kSummed) add_seen(g.seen + (c >> g.seen_shift) * kLanes, minus ? sub(zero(), total) : total);
    if (kStored && g.residual) g.sink->checksum->magnitude += 2 * static_cast<float>(kMostTileWeight * kMostTileWeight) * reduce_max(size);
  }
  if (kChecked) fold(seen, g.sink, g.flat + pixel * s.out_channels + begin, 0);
}

using FinishFn = void (*)(const ConvShape&, const Winograd&, const Product&, const float*, int64_t, int64_t, int64_t, int64_t,
                          int64_t, bool);
template <int kTile, bool kChecked, bool kSummed>
FinishFn finish_for(int32_t code) {
  switch (code) {
    case kRelu: return finish_outputs<kTile, kRelu, kChecked, kSummed>;
    case kClip: return finish_outputs<kTile, kClip, kChecked, kSummed>;
    default: return finish_outputs<kTile, kNone, kChecked, kSummed>;
  }
}
template <int kTile>
FinishFn finish_of(const Product& g) {
  if (g.seen) return g.sink ? finish_for<kTile, true, true>(g.act.code) : finish_for<kTile, false, true>(g.act.code);
  return g.sink ? finish_for<kTile, true, false>(g.act.code) : finish_for<kTile, false, false>(g.act.code);
}

int64_t padded_floats(const ConvShape& s, const Winograd& w) {
  return (w.block_rows * w.tile + 2) * w.padded_width * s.channels;
}

// Input rows for `rows` tile rows from tile row `first`, with margins of zeros on all sides.
void copy_rows(const ConvShape& s, const Winograd& w, const float* x, int64_t first, int64_t rows, float* out) {
  const int64_t line = w.padded_width * s.channels, left = least(s.pad_left * s.channels, line);
  const int64_t copied = least(s.width * s.channels, line - left);
  const int64_t top = first * w.tile - s.pad_top;
  for (int64_t i = top; i < top + rows * w.tile + 2; ++i, out += line) {
    const bool inside = i >= 0 && i < s.height;
    __builtin_memset(out, 0, static_cast<size_t>(inside ? left : line) * 4);
    if (!inside) continue;
    __builtin_memcpy(out + left, x + i * s.width * s.channels, static_cast<size_t>(copied) * 4);
    __builtin_memset(out + left + copied, 0, static_cast<size_t>(line - left - copied) * 4);
  }
}

}  // namespace

namespace {

// The sizes for one tile edge and the cycles expected: two multiply-adds each cycle, transforms at about 2.5 operations, weights
// at 16 bytes once a block.
double plan_tiles(const ConvShape& s, int32_t tile, Winograd* w) {
  w->tile = tile;
  w->tiles_high = ceil_div(s.out_height, tile), w->tiles_wide = ceil_div(s.out_width, tile);
  w->padded_width = w->tiles_wide * tile + 2;
  w->plane = aligned(packed_floats(s.channels, s.out_channels));
  const int64_t each = planes(*w) * (s.channels + s.out_channels) * w->tiles_wide;
  w->block_rows = most(1, least(w->tiles_high, kBlockFloats / each));
  w->v_stride = aligned(w->block_rows * w->tiles_wide * s.channels) + kSkew;
  w->m_stride = aligned(w->block_rows * w->tiles_wide * s.out_channels) + kSkew;
  const size_t bytes = winograd_packed_bytes(*w);
  if (bytes > static_cast<size_t>(kLargestWeights)) return 1e30;
  w->by_columns = w->block_rows == w->tiles_high && bytes > 256 * 1024 && panels_of(s.out_channels) >= 4;
  const double ci = static_cast<double>(vectors(s.channels)), co = static_cast<double>(vectors(s.out_channels));
  const double k = static_cast<double>(s.channels), tiles = static_cast<double>(w->tiles_high * w->tiles_wide);
  const double blocks = static_cast<double>(ceil_div(w->tiles_high, w->block_rows)), side = tile + 2;
  const double product = tiles * side * side * co * (k / 2 + 4) + blocks * static_cast<double>(bytes) / 16;
  return product + tiles * (ci + co) * side * side * 6 / 2.5;
}

}  // namespace

bool winograd_chosen(const ConvShape& s, Winograd* w) {
  if (s.kernel_h != 3 || s.kernel_w != 3 || s.stride_h != 1 || s.stride_w != 1 || s.dilation_h != 1 || s.dilation_w != 1 ||
      s.group != 1 || s.channels < kLanes || s.out_channels < kLanes || s.out_height < 2 || s.out_width < 2)
    return false;
  const double pixels = static_cast<double>(s.out_height * s.out_width), taps = static_cast<double>(s.channels * 9);
  const double direct = pixels * taps * static_cast<double>(vectors(s.out_channels)) / 2 +
                        taps * static_cast<double>(s.out_channels) * 4 / 16;
  Winograd small;
  const double of_two = plan_tiles(s, 2, &small), of_four = plan_tiles(s, 4, w);
  if (of_two < of_four) plan_tiles(s, 2, w);  // not copied: its padding would be, and what is prepared again must have the same bytes
  return (of_two < of_four ? of_two : of_four) < 0.8 * direct;
}

size_t winograd_packed_bytes(const Winograd& w) { return static_cast<size_t>(planes(w) * w.plane * 4); }

size_t winograd_scratch_bytes(const ConvShape& s, const Winograd& w) {
  const int64_t tiles = w.block_rows * w.tiles_wide;
  return static_cast<size_t>(aligned(padded_floats(s, w)) + planes(w) * (w.v_stride + w.m_stride)) * 4 +
         static_cast<size_t>(ceil_div(tiles, 8) * kCacheLine);
}

void winograd_pack(const ConvShape& s, const Winograd& w, const float* weights, float* packed) {
  static const double kTwo[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
  static const double kFour[6][3] = {{1. / 4, 0, 0},           {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6},
                                     {1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}};
  const double(*g)[3] = w.tile == 2 ? kTwo : kFour;
  const int side = w.tile + 2;
  __builtin_memset(packed, 0, static_cast<size_t>(planes(w) * w.plane) * 4);
  for (int64_t co = 0; co < s.out_channels; ++co) {
    const int64_t panel = co / kPanel, width = panel_width(s.out_channels, panel), lane = co % kPanel;
    for (int64_t ci = 0; ci < s.channels; ++ci) {
      const float* from = weights + co * 9 * s.channels + ci;
      double half[6][3];
      for (int y = 0; y < side; ++y)
        for (int x = 0; x < 3; ++x)
          half[y][x] = g[y][0] * from[x * s.channels] + g[y][1] * from[(3 + x) * s.channels] + g[y][2] * from[(6 + x) * s.channels];
      float* to = packed + panel * s.channels * kPanel + ci * width + lane;
      for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x)
          to[(y * side + x) * w.plane] = static_cast<float>(g[x][0] * half[y][0] + g[x][1] * half[y][1] + g[x][2] * half[y][2]);
    }
  }
}

// An armed fault in an accumulator: the product of one plane that the output's tile and place in it choose.
static EDGERUN_NOINLINE __attribute__((cold)) void strike_plane(const ConvShape& s, const Winograd& w, const Product& g, int64_t top, float* m) {
  const int64_t oy = g.fault_row / s.out_width - top, ox = g.fault_row % s.out_width;
  const int64_t tile = oy / w.tile * w.tiles_wide + ox / w.tile, plane = oy % w.tile * (w.tile + 2) + ox % w.tile;
  float* at = m + plane * w.m_stride + tile * s.out_channels + g.fault_column;
  uint32_t bits;
  __builtin_memcpy(&bits, at, 4);
  bits = g.fault->strike(bits);
  __builtin_memcpy(at, &bits, 4);
}

void winograd_rows(const WinogradRun& r, int64_t begin, int64_t end, int64_t first_panel, int64_t last_panel) {
  const ConvShape& s = *r.s;
  const Winograd& w = *r.w;
  float* padded = r.scratch;
  float* v = padded + aligned(padded_floats(s, w));
  float* m = v + planes(w) * w.v_stride;
  const float** rows = reinterpret_cast<const float**>(m + planes(w) * w.m_stride);
  const int64_t image = s.out_height * s.out_width * s.out_channels;
  const int64_t left = first_panel * kPanel, right = least(last_panel * kPanel, s.out_channels);
  for (int64_t at = begin; at < end;) {
    const int64_t n = at / w.tiles_high, first = at % w.tiles_high;
    const int64_t high = least(least(w.block_rows, end - at), w.tiles_high - first), tiles = high * w.tiles_wide;
    copy_rows(s, w, r.x + n * s.height * s.width * s.channels, first, high, padded);
    if (w.tile == 2) transform_tiles<2>(s, w, padded, high, v);
    else transform_tiles<4>(s, w, padded, high, v);

    for (int64_t i = 0; i < tiles; ++i) rows[i] = v + i * s.channels;
    Product plane{};
    plane.n_segments = 1, plane.length = s.channels;
    plane.b_row = kPanel, plane.b_panel = s.channels * kPanel;
    plane.ldc = plane.columns = s.out_channels;
    plane.fault_row = -1;
    for (int64_t i = 0; i < planes(w); ++i) {
      const int64_t offset = i * w.v_stride;
      plane.segments = &offset;
      plane.b = r.packed + i * w.plane;
      plane.c = m + i * w.m_stride;
      multiply(plane, rows, 0, tiles, first_panel, last_panel, true);
    }

    Product g = r.product;
    g.c += n * image, g.flat += n * image;
    if (g.residual) g.residual += n * image;
    locate_fault(&g, s.out_height * s.out_width);
    const int64_t top = first * w.tile, bottom = least(s.out_height, top + high * w.tile);
    bool armed = g.fault_row >= top * s.out_width && g.fault_row < bottom * s.out_width;
    if (EDGERUN_UNLIKELY(armed) && g.fault->site == FaultSite::accumulator) {
      if (g.fault_column >= left && g.fault_column < right) strike_plane(s, w, g, top, m);
      g.fault_row = -1, armed = false;
    }
    Product raw = g;
    const bool stored = g.seen && g.sink && g.act.code == kNone;
    const bool later = (armed && !stored) || g.act.code > kClip;
    if (later) raw.act.code = kNone, raw.sink = nullptr;
    const FinishFn finish = w.tile == 2 ? finish_of<2>(raw) : finish_of<4>(raw);
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t oy = top + i / w.tiles_wide * w.tile, ox = i % w.tiles_wide * w.tile;
      finish(s, w, raw, m + i * s.out_channels, oy * s.out_width + ox, least(w.tile, s.out_height - oy),
             least(w.tile, s.out_width - ox), left, right, w.tile == 2 && ((oy + ox) & 2) != 0);
    }
    if (later) finish_tile(g, top * s.out_width, left, (bottom - top) * s.out_width, right - left);
    if (g.sink) g.sink->checked += static_cast<uint64_t>((bottom - top) * s.out_width * (right - left));
    at += high;
  }
}

EDGERUN_ISA_END
