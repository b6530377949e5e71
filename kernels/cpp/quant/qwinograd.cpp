#include "quant/qwinograd.h"

#include "quant/watch.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int64_t kBlockBytes = 192 * 1024;       // of V and M
inline constexpr int64_t kLargestWeights = 2 * 1024 * 1024;  // bytes; beyond, the transformed weights stream from memory
inline constexpr int64_t kSkew = 32;                     // elements between planes: they must not share cache sets
inline constexpr int kWords = 2 * kLanes;                // int16 of a vector

typedef uint16_t vh __attribute__((vector_size(kVectorBytes)));  // unsigned: sums wrap by definition
typedef uint16_t vh_unaligned __attribute__((vector_size(kVectorBytes), aligned(2), may_alias));

int64_t planes(const IntWinograd& w) { return (w.tile + 2) * (w.tile + 2); }
int64_t tiles_of(const IntWinograd& w) { return w.block_rows * w.tiles_wide; }
int64_t aligned(int64_t bytes) { return ceil_div(bytes, kCacheLine) * kCacheLine; }

// Rows of G times their factors: 4 6 6 24 24 1, and 1 2 2 1.
constexpr int32_t kG4[6][3] = {{1, 0, 0}, {-1, -1, -1}, {-1, 1, -1}, {1, 2, 4}, {1, -2, 4}, {0, 0, 1}};
constexpr int32_t kG2[4][3] = {{1, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 1}};

// B^T d along one axis.
EDGERUN_SIMD void input_transform(const vh (&d)[4], vh (&v)[4]) {
  v[0] = d[0] - d[2];
  v[1] = d[1] + d[2];
  v[2] = d[2] - d[1];
  v[3] = d[1] - d[3];
}
EDGERUN_SIMD void input_transform(const vh (&d)[6], vh (&v)[6]) {
  const vh a = d[4] - (d[2] << 2), b = d[3] - (d[1] << 2), e = d[4] - d[2], f = (d[3] - d[1]) << 1;
  v[0] = ((d[0] - d[2]) << 2) + e;
  v[1] = a + b;
  v[2] = a - b;
  v[3] = e + f;
  v[4] = e - f;
  v[5] = ((d[1] - d[3]) << 2) + (d[5] - d[3]);
}

// A^T m along one axis, times 24 or 2, the factors of G's rows undone.
EDGERUN_SIMD void output_transform(const vu (&m)[4], vu (&o)[2]) {
  o[0] = (m[0] << 1) + (m[1] + m[2]);
  o[1] = (m[1] - m[2]) - (m[3] << 1);
}
EDGERUN_SIMD void output_transform(const vu (&m)[6], vu (&o)[4]) {
  const vu a = m[1] + m[2], b = (m[1] - m[2]) << 2, e = m[3] + m[4], f = (m[3] - m[4]) << 1;
  o[0] = ((m[0] + (m[0] << 1) + (a << 1)) << 1) + e;
  o[1] = b + f;
  o[2] = (a + e) << 2;
  o[3] = b + (f << 2) + ((m[5] + (m[5] << 1)) << 3);
}

// The sum of which o is 4 or 576 times.
EDGERUN_SIMD vi divided(vu o, int side) {
  const vi whole = (vi)o >> (side == 4 ? 2 : 6);
  return side == 4 ? whole : (vi)((vu)whole * (0x38e38e39u - vu{}));  // 9 * 0x38e38e39 = 1 modulo 2^32
}

EDGERUN_SIMD vh load_part(const word* p, int n) {
  if (EDGERUN_LIKELY(n == kWords)) return *reinterpret_cast<const vh_unaligned*>(p);
#if defined(EDGERUN_SIMD_AVX512)
  return reinterpret_cast<vh>(_mm512_maskz_loadu_epi16((1u << n) - 1u, p));
#else
  vh r{};
  __builtin_memcpy(&r, p, static_cast<size_t>(n) * 2);
  return r;
#endif
}

// One tile's n <= kWords channels: kSide x kSide words at `in` (line: words between rows) to v, v + plane, ...
template <int kSide>
EDGERUN_SIMD void transform_in(const word* in, int64_t line, int64_t channels, word* v, int64_t plane, int n) {
  vh half[kSide][kSide];
#pragma GCC unroll 6
  for (int x = 0; x < kSide; ++x) {
    vh d[kSide], t[kSide];
#pragma GCC unroll 6
    for (int y = 0; y < kSide; ++y) d[y] = load_part(in + y * line + x * channels, n);
    input_transform(d, t);
#pragma GCC unroll 6
    for (int y = 0; y < kSide; ++y) half[y][x] = t[y];
  }
#pragma GCC unroll 6
  for (int y = 0; y < kSide; ++y) {
    vh t[kSide];
    input_transform(half[y], t);
#pragma GCC unroll 6
    for (int x = 0; x < kSide; ++x) *reinterpret_cast<vh_unaligned*>(v + (y * kSide + x) * plane) = t[x];
  }
}

int64_t v_line(const ConvShape& s) { return ceil_div(s.channels, kWords) * kWords; }

template <int kTile>
EDGERUN_NOINLINE void transform_tiles(const ConvShape& s, const IntWinograd& w, const word* rows, int64_t count, word* v) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < w.tiles_wide; ++j, v += v_line(s)) {
      const word* in = rows + i * kTile * w.row_words + j * kTile * s.channels;
      for (int64_t c = 0; c < s.channels; c += kWords)
        transform_in<kTile + 2>(in + c, w.row_words, s.channels, v + c, w.v_plane, static_cast<int>(least(kWords, s.channels - c)));
    }
}

// A tile's outputs summed with their weights.
EDGERUN_SIMD vu weighed(const vu (&o)[2]) { return o[0] + o[1] + (o[1] << 1); }
EDGERUN_SIMD vu weighed(const vu (&o)[4]) { return (o[0] + o[1]) + (o[2] - o[3]); }

// Where a tile's results go.
struct Target {
  IntProduct out;        // start, factor, left, narrow; c: the image
  int64_t oy, ox, rows, columns;  // first output pixel, how many of the tile's rows and columns exist
  int64_t width;         // of the output
  int32_t largest;       // |sum| without bias
};

// Adds those of a tile's sums that exist to the checksum.
template <int kTile, int kVectors>
EDGERUN_SIMD void see(const vi (&sums)[kVectors][kTile][kTile], const Target& t) {
  int32_t* seen = reinterpret_cast<int32_t*>(t.out.seen);
  const bool minus = kTile == 2 && ((t.oy + t.ox) & 2) != 0;  // kTileWeights beyond one tile
  vu total = minus ? vu{} - (vu)loadu_int(seen) : (vu)loadu_int(seen);
  if (EDGERUN_LIKELY(t.rows == kTile && t.columns == kTile)) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      vu rows[kTile];
#pragma GCC unroll 4
      for (int y = 0; y < kTile; ++y) {
        vu o[kTile];
#pragma GCC unroll 4
        for (int x = 0; x < kTile; ++x) o[x] = (vu)sums[v][y][x];
        rows[y] = weighed(o);
      }
      total += weighed(rows);
    }
  } else {
    for (int v = 0; v < kVectors; ++v)
      for (int y = 0; y < t.rows; ++y)
        for (int x = 0; x < t.columns; ++x)
          total += (vu)sums[v][y][x] * (vu)broadcast_int(kTileWeights[kTile][y] * kTileWeights[kTile][x]);
  }
  storeu_int(seen, (vi)(minus ? vu{} - total : total));
}

// Channels [channel, channel + kLanes) (or 2 kLanes with kPair) of one tile of M.
//
// kSeen: sums them for the checksum. A fault in a product of a plane makes outputs that no weights and bytes can give, as
// o is no multiple of what it is divided by, or wraps: the largest there can be tells, where the checksum could be blind.
template <int kSide, bool kPair, bool kSeen>
EDGERUN_SIMD void transform_out(const int32_t* m, int64_t plane, const Target& t, int64_t channel) {
  constexpr int kTile = kSide - 2, kVectors = kPair ? 2 : 1;
  vi sums[kVectors][kTile][kTile], top{}, bottom{};
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    vu half[kTile][kSide];
    const int32_t* at = m + channel + v * kLanes;
#pragma GCC unroll 6
    for (int x = 0; x < kSide; ++x) {
      vu d[kSide], o[kTile];
#pragma GCC unroll 6
      for (int y = 0; y < kSide; ++y) d[y] = (vu)loadu_int(at + (y * kSide + x) * plane);
      output_transform(d, o);
#pragma GCC unroll 4
      for (int y = 0; y < kTile; ++y) half[y][x] = o[y];
    }
    const vi start = loadu_int(t.out.start + channel + v * kLanes);
#pragma GCC unroll 4
    for (int y = 0; y < kTile; ++y) {
      vu o[kTile];
      output_transform(half[y], o);
#pragma GCC unroll 4
      for (int x = 0; x < kTile; ++x) {
        const vi sum = divided(o[x], kSide);
        sums[v][y][x] = sum + start;
        if (kSeen) top = max_int(top, sum), bottom = min_int(bottom, sum);
      }
    }
  }
  if (kSeen) {
    see<kTile, kVectors>(sums, t);
    if (EDGERUN_UNLIKELY(any((top > broadcast_int(t.largest)) | (bottom < broadcast_int(-t.largest)))))
      report(t.out.sink, kChecksum, t.out.flat + (t.oy * t.width + t.ox) * t.out.ldc + channel, 0.f, 0.f, static_cast<float>(t.largest));
  }
  const int n = static_cast<int>(least(t.out.columns - channel, kVectors * kLanes));
  const Narrower narrow(t.out.narrow);
  const Rescale rescale(t.out.narrow);
  for (int y = 0; y < t.rows; ++y)
    for (int x = 0; x < t.columns; ++x) {
      const int64_t at = ((t.oy + y) * t.width + t.ox + x) * t.out.ldc + channel;
      if (!t.out.factor) {
        for (int k = 0; k < n; ++k) static_cast<int32_t*>(t.out.c)[at + k] = sums[k / kLanes][y][x][k % kLanes];
        continue;
      }
      vi q[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        q[v] = sums[v][y][x];
        if (EDGERUN_UNLIKELY(t.out.left != nullptr)) q[v] = shift_left_limited(q[v], loadu_int(t.out.left + channel + v * kLanes));
        q[v] = rescale(q[v], loadu_int(t.out.factor + channel + v * kLanes));
      }
      uint8_t* c = static_cast<uint8_t*>(t.out.c) + at;
      if constexpr (kPair) narrow.pair(q[0], q[1], c, n);
      else narrow.lone(q[0], c, n);
    }
  if (EDGERUN_LIKELY(!t.out.verify && !t.out.fault)) return;
  Foretold<kTile, kVectors> foretold(t.out, channel);
  for (int y = 0; y < t.rows; ++y) {
    const KeptSums kept{reinterpret_cast<int32_t*>(&sums[0][y][0]), kLanes, kTile * kTile * kLanes};
    const TilePlace here{(t.oy + y) * t.width + t.ox, channel, t.columns, n};
    if (struck(t.out, here.row, here.rows, here.column, here.columns)) strike_stored(t.out, kept, here);
    if (!t.out.verify) continue;
    vi row[kTile][kVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kTile * kVectors; ++i) row[i / kVectors][i % kVectors] = sums[i % kVectors][y][i / kVectors];
    foretold.from(row);
    const uint8_t* c = static_cast<const uint8_t*>(t.out.c) + here.row * t.out.ldc + channel;
    if (EDGERUN_UNLIKELY(!foretold.matches(c, t.out.ldc, static_cast<int>(t.columns), n))) verify_exactly(t.out, kept, here);
    t.out.sink->checked += static_cast<uint64_t>(here.rows * here.columns);
  }
}

template <int kTile, bool kSeen>
EDGERUN_NOINLINE void store_tiles(const ConvShape& s, const IntWinograd& w, const int32_t* m, int64_t first, int64_t count, Target t) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < w.tiles_wide; ++j, m += w.epilogue.columns) {
      t.oy = (first + i) * kTile, t.ox = j * kTile;
      t.rows = least(kTile, s.out_height - t.oy), t.columns = least(kTile, s.out_width - t.ox);
      int64_t c = 0;
      for (; c + kLanes < s.out_channels; c += 2 * kLanes) transform_out<kTile + 2, true, kSeen>(m, w.m_plane, t, c);
      if (c < s.out_channels) transform_out<kTile + 2, false, kSeen>(m, w.m_plane, t, c);
    }
}

template <bool kSeen>
void store(const ConvShape& s, const IntWinograd& w, const int32_t* m, int64_t first, int64_t count, const Target& t) {
  if (w.tile == 4) store_tiles<4, kSeen>(s, w, m, first, count, t);
  else store_tiles<2, kSeen>(s, w, m, first, count, t);
}

// An armed fault in an accumulator: the product of one plane that the output's tile and place in it choose.
EDGERUN_NOINLINE __attribute__((cold)) void strike_plane(const IntWinograd& w, const IntProduct& g, int64_t width, int64_t first, int32_t* m) {
  const int64_t oy = g.fault_row / width - first * w.tile, ox = g.fault_row % width;
  const int64_t tile = oy / w.tile * w.tiles_wide + ox / w.tile, plane = oy % w.tile * (w.tile + 2) + ox % w.tile;
  int32_t& at = m[plane * w.m_plane + tile * w.epilogue.columns + g.fault_column];
  at = static_cast<int32_t>(g.fault->strike(static_cast<uint32_t>(at)));
}

// Cycles of an output pixel, from measured parts: products, transforms in and out.
double cost(const ConvShape& s, int32_t tile) {
  const double products = static_cast<double>(s.channels) * static_cast<double>(s.out_channels) / 24;
  if (tile == 0) return 9 * products;
  const double high = static_cast<double>(ceil_div(s.out_height, tile) * tile) / static_cast<double>(s.out_height);
  const double wide = static_cast<double>(ceil_div(s.out_width, tile) * tile) / static_cast<double>(s.out_width);
  const double transforms = 0.35 * static_cast<double>(v_line(s)) + 0.5 * static_cast<double>(s.out_channels);
  return high * wide * ((tile == 4 ? 2.25 : 4) * products + transforms);
}

}  // namespace

void int_winograd_choose(const ConvShape& s, const TensorView& weights, const Epilogue& e, IntWinograd* w) {
  w->tile = 0;
  w->epilogue = e;
  if (s.kernel_h != 3 || s.kernel_w != 3 || s.stride_h != 1 || s.stride_w != 1 || s.dilation_h != 1 || s.dilation_w != 1 || s.group != 1)
    return;
  if (kHasBytes) return;  // four products a lane are as many as the tiles save
  if (s.channels < 8 || s.out_channels < 8 || s.out_height < 2 || s.out_width < 2 || weights.dtype != DType::i8) return;
  const int64_t most_words = int64_t{1} << 30;  // larger products are left to the direct way
  if (s.width > most_words / s.channels || s.out_width > most_words / s.out_channels || s.pad_left > most_words / s.channels) return;
  int64_t largest = 0;
  const int64_t k = 9 * s.channels;
  for (int64_t n = 0; n < s.out_channels; ++n) {
    int64_t sum = 0;
    for (int64_t i = 0; i < k; ++i) sum += __builtin_abs(weight_at(weights, n * k + i));
    largest = most(largest, sum);
  }
  double best = cost(s, 0);
  for (int32_t tile = 2; tile <= 4; tile += 2) {
    const int64_t scale = tile == 4 ? 576 : 4, side = tile + 2;
    if (largest > INT32_MAX / (255 * scale) || side * side * s.channels * e.columns * 2 > kLargestWeights) continue;
    const double c = cost(s, tile);
    if (c < best) best = c, w->tile = tile;
  }
  if (w->tile == 0) return;
  w->largest = static_cast<int32_t>(255 * largest);
  w->tiles_high = ceil_div(s.out_height, w->tile), w->tiles_wide = ceil_div(s.out_width, w->tile);
  w->row_words = (w->tiles_wide * w->tile + 2) * s.channels;
  const int64_t row_bytes = w->tiles_wide * planes(*w) * (v_line(s) * 2 + e.columns * 4);
  w->block_rows = most(1, least(w->tiles_high, kBlockBytes / row_bytes));
  w->v_plane = tiles_of(*w) * v_line(s) + kSkew;
  w->m_plane = tiles_of(*w) * e.columns + kSkew;
  w->b_plane = packed_elements(Form::words, 1, s.channels, s.out_channels);
}

namespace {
int64_t rows_bytes(const IntWinograd& w) { return aligned((w.block_rows * w.tile + 2) * w.row_words * 2 + kVectorBytes); }
int64_t v_bytes(const IntWinograd& w) { return aligned(planes(w) * w.v_plane * 2 + kVectorBytes); }
int64_t m_bytes(const IntWinograd& w) { return aligned(planes(w) * w.m_plane * 4); }
int64_t zeros_bytes(const IntWinograd& w) { return aligned(w.epilogue.columns * 4); }
int64_t table_bytes(const IntWinograd& w) { return aligned(tiles_of(w) * 8); }
}  // namespace

size_t int_winograd_packed_bytes(const IntWinograd& w) {
  return static_cast<size_t>(kCacheLine + w.epilogue.bytes() + zeros_bytes(w) + planes(w) * w.b_plane * 2);
}
size_t int_winograd_table_bytes(const IntWinograd& w) { return static_cast<size_t>(kCacheLine + w.epilogue.bytes() + zeros_bytes(w)); }
size_t int_winograd_scratch_bytes(const IntWinograd& w) {
  return static_cast<size_t>(table_bytes(w) + rows_bytes(w) + v_bytes(w) + m_bytes(w));
}

void int_winograd_pack(const ConvShape& s, const IntWinograd& w, const TensorView& weights, const TensorView* bias,
                       const TensorView* factors, void* packed) {
  *static_cast<int64_t*>(packed) = 0;  // the one segment
  char* at = static_cast<char*>(packed) + kCacheLine;
  pack_epilogue(w.epilogue, bias, factors, 0, s.out_channels, 0, [](int64_t) { return 0; }, reinterpret_cast<int32_t*>(at));
  at += w.epilogue.bytes();
  __builtin_memset(at, 0, static_cast<size_t>(zeros_bytes(w)));
  word* out = reinterpret_cast<word*>(at + zeros_bytes(w));
  const int32_t side = w.tile + 2;
  for (int32_t y = 0; y < side; ++y)
    for (int32_t x = 0; x < side; ++x, out += w.b_plane) {
      const int32_t *gy = w.tile == 4 ? kG4[y] : kG2[y], *gx = w.tile == 4 ? kG4[x] : kG2[x];
      const auto weight = [&](int64_t ci, int64_t co) {
        int32_t sum = 0;
        for (int i = 0; i < 9; ++i) sum += gy[i / 3] * gx[i % 3] * weight_at(weights, (co * 9 + i) * s.channels + ci);
        return sum;
      };
      pack_b(Form::words, 1, s.channels, s.out_channels, 0, panels_of(s.out_channels), weight, out);
    }
}

void int_winograd_run(const Run& r, const ConvShape& s, const QuantParams& q, const IntWinograd& w, const IntAudit& a, int64_t begin,
                      int64_t end) {
  char* scratch = static_cast<char*>(r.scratch);
  const void** rows = reinterpret_cast<const void**>(scratch);
  word* wide = reinterpret_cast<word*>(scratch + table_bytes(w));
  word* v = reinterpret_cast<word*>(scratch + table_bytes(w) + rows_bytes(w));
  int32_t* m = reinterpret_cast<int32_t*>(scratch + table_bytes(w) + rows_bytes(w) + v_bytes(w));
  const char* lists = static_cast<const char*>(r.packed) + kCacheLine;
  const int32_t* zeros = reinterpret_cast<const int32_t*>(lists + w.epilogue.bytes());
  const word* b = reinterpret_cast<const word*>(lists + w.epilogue.bytes() + zeros_bytes(w));
  const int64_t side = w.tile + 2, results = s.out_height * s.out_width * s.out_channels;

  IntProduct product{};
  product.segments = static_cast<const int64_t*>(r.packed);
  product.n_segments = 1, product.groups = groups_of(Form::words, s.channels);
  product.b_panel = packed_elements(Form::words, 1, s.channels, kPanel);
  product.start = zeros;
  product.ldc = w.epilogue.columns, product.columns = w.epilogue.columns;
  Target target{};
  target.out.narrow = q.narrow, target.out.ldc = target.out.columns = s.out_channels, target.width = s.out_width;
  target.largest = w.largest;
  watch(r, q, a, &target.out);
  use_epilogue(w.epilogue, reinterpret_cast<const int32_t*>(lists), &target.out);

  for (int64_t unit = begin; unit < end;) {
    const int64_t n = unit / w.tiles_high, first = unit % w.tiles_high;
    const int64_t count = least(least(w.block_rows, w.tiles_high - first), end - unit), tiles = count * w.tiles_wide;
    widen_image_rows(s, q, r.in[0], n, first * w.tile - s.pad_top, 1, count * w.tile + 2, w.row_words, wide);
    if (w.tile == 4) transform_tiles<4>(s, w, wide, count, v);
    else transform_tiles<2>(s, w, wide, count, v);
    for (int64_t p = 0; p < side * side; ++p) {
      for (int64_t i = 0; i < tiles; ++i) rows[i] = v + p * w.v_plane + i * v_line(s);
      product.b = b + p * w.b_plane, product.c = m + p * w.m_plane;
      int_multiply(product, rows, 0, tiles, 0, panels_of(product.columns));
    }
    target.out.flat = n * results;
    target.out.c = r.out[0].as<char>() + n * results * (q.raw ? 4 : 1);
    locate_fault(&target.out, s.out_height * s.out_width);
    const int64_t row = target.out.fault_row - first * w.tile * s.out_width;
    if (target.out.fault && target.out.fault->site == FaultSite::accumulator && row >= 0 && row < count * w.tile * s.out_width)
      strike_plane(w, target.out, s.out_width, first, m);
    if (target.out.seen) store<true>(s, w, m, first, count, target);
    else store<false>(s, w, m, first, count, target);
    unit += count;
  }
}

EDGERUN_ISA_END
