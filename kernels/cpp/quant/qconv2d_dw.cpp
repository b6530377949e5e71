// qconv2d_dw_i8, qconv2d_dw_u8: depthwise qconv2d, w [KH, KW, C m].
//
// Vectorised over channels. Taps go in groups of rows above each other: a group row holds, for every pixel (margins included) and
// channel, the elements of that many input rows side by side, which one product multiplies and adds (words.h). Group rows live in a
// ring: each is built once for all output rows that read it. Channels are taken in chunks whose ring stays in L1; where there is one
// chunk, pixels lie close together, and what is read behind the last channel meets weights that are zero.
//
// Two forms fill a tile where a row of pixels would not. `fold`: so few channels that several neighbouring outputs share a vector, as
// if they were one pixel of so many more channels. `tall`: images one column wide (sequences), whose rows are taken as pixels.
#include "quant/qconv_shape.h"
#include "quant/watch.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int64_t kRingBytes = 24 * 1024;  // of one chunk
inline constexpr int64_t kWide = 2 * kLanes;      // channels of a full tile
#if defined(__aarch64__)
inline constexpr int kTilePixels = 8;
#else
inline constexpr int kTilePixels = 4;
#endif
inline constexpr int64_t kMostGroups = 64;        // of kernel rows

struct Params {
  ConvShape s;
  QuantParams q;
  int64_t multiplier;
  bool bytes;              // DotForm, otherwise WordsForm
  int64_t step;            // kernel rows of a group
  int64_t groups;          // of kernel rows
  int64_t row_step;        // input rows between group rows that are read
  int64_t ring;            // group rows kept
  int64_t chunk;           // channels, a multiple of kWide
  int64_t line;            // elements of a group row of one chunk
  int64_t padded_width;
  int64_t pixel;           // elements between pixels of a group row
  int64_t fold;            // outputs of a vector
  bool tall;
  Epilogue epilogue;
  IntAudit audit;
};

int64_t gcd(int64_t a, int64_t b) { return b == 0 ? a : gcd(b, a % b); }
int64_t aligned(int64_t bytes) { return ceil_div(bytes, kCacheLine) * kCacheLine; }
int64_t element_size(const Params& p) { return p.bytes ? 1 : 2; }
int64_t weight_bytes(const Params& p) { return p.epilogue.columns * p.groups * p.s.kernel_w * p.step * element_size(p); }
int64_t ring_bytes(const Params& p) { return aligned((p.ring * p.line + kWide * p.step) * element_size(p)); }
bool one_chunk(const Params& p) { return p.chunk >= p.s.out_channels; }
size_t packed_bytes(const Params& p) { return static_cast<size_t>(p.epilogue.bytes() + weight_bytes(p)); }

Status resolve(const Request& r, DType dtype, Params* p) {
  EDGERUN_TRY(arity(r, 2, 4, 1));
  const TensorView &x = r.in[0], &w = r.in[1], &y = r.out[0];
  if (x.rank != 4 || y.rank != 4 || w.rank != 3) return Status::bad_rank;
  EDGERUN_TRY(quant_operands(r, dtype, "x_zero", y.dims[3], &p->q));
  EDGERUN_TRY(constant_weights(w));
  ConvShape& s = p->s;
  s.kernel_h = w.dims[0], s.kernel_w = w.dims[1];
  EDGERUN_TRY(conv_geometry(r, false, &s));
  s.group = s.channels;
  if (w.dims[2] != s.out_channels) return Status::bad_shape;
  if (s.channels == 0 ? s.out_channels != 0 : s.out_channels % s.channels != 0) return Status::bad_shape;
  p->multiplier = s.channels == 0 ? 1 : s.out_channels / s.channels;
  p->bytes = kHasBytes && w.dtype == DType::i8 && s.kernel_h > 1;  // of one row, three of four products would be idle
  p->step = p->bytes ? DotForm::kStep : kGroup;
  int64_t elements;
  EDGERUN_TRY(row_words(s, &elements));
  if (__builtin_mul_overflow(elements, p->multiplier * p->step * s.span_h(), &elements) || elements > int64_t{1} << 56) return Status::too_large;

  p->padded_width = most(s.padded_width(), 0);
  p->groups = ceil_div(s.kernel_h, p->step);
  p->row_step = gcd(s.stride_h, p->step * s.dilation_h);
  if (p->groups > kMostGroups) return Status::unsupported;
  p->ring = (p->groups - 1) * p->step * s.dilation_h / p->row_step + 1;
  const int64_t all = p->ring + (most(s.out_height, 1) - 1) * (s.stride_h / p->row_step);
  p->tall = p->padded_width == 1 && s.out_width == 1 && all <= kRingBytes / (kWide * p->step * element_size(*p));
  if (p->tall) p->ring = all;
  const int64_t fits = kRingBytes / most(p->ring * p->padded_width * p->step * element_size(*p), 1) / kWide * kWide;
  p->chunk = least(most(fits, kWide), ceil_div(most(s.out_channels, 1), kWide) * kWide);
  p->pixel = (one_chunk(*p) ? s.out_channels : p->chunk) * p->step;
  p->line = p->padded_width * p->pixel;
  const int64_t fold = s.out_channels > 0 ? kLanes / s.out_channels : 0;
  p->fold = !p->tall && fold > 1 && kLanes % s.out_channels == 0 && p->multiplier == 1 && s.stride_w == 1 && s.out_width % fold == 0 ? fold : 1;
  p->epilogue = {ceil_div(s.out_channels, kWide) * kWide, !p->q.raw, any_shift(r, p->q.raw)};
  p->audit = audit_of(r, p->q, s, 1);
  p->audit.over_groups = true;
  p->audit.by_channel = p->multiplier == 1;
  int_audit_resolve(packed_bytes(*p), &p->audit);
  return Status::ok;
}

template <DType kX>
Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, kX, &p));
  const int64_t outputs = r.out[0].elements(), taps = p.s.kernel_h * p.s.kernel_w;
  need->params = sizeof p;
  need->packed = packed_bytes(p);
  need->table = static_cast<size_t>(p.epilogue.bytes());
  need->scratch = static_cast<size_t>(ring_bytes(p) + aligned(p.s.width * p.s.channels));
  need->units = outputs == 0 ? 0 : p.s.batch * p.s.out_height;
  need->work = 2.0 * static_cast<double>(outputs) * static_cast<double>(taps);
  need->bytes = static_cast<double>(r.in[0].elements() + r.in[1].elements() + outputs);
  need_audit(p.audit, need);
  return Status::ok;
}

template <class Element>
void pack_weights(const Params& p, const TensorView& w, Element* out) {
  const ConvShape& s = p.s;
  const int64_t channels = s.out_channels, folded = channels * p.fold;
  for (int64_t c = 0; c < p.epilogue.columns; c += kLanes)
    for (int64_t g = 0; g < p.groups; ++g)
      for (int64_t kx = 0; kx < s.kernel_w; ++kx)
        for (int64_t k = c; k < c + kLanes; ++k)
          for (int64_t ky = g * p.step; ky < (g + 1) * p.step; ++ky) {
            const bool exists = k < folded && ky < s.kernel_h;
            *out++ = exists ? static_cast<Element>(weight_at(w, (ky * s.kernel_w + kx) * channels + k % channels)) : Element{0};
          }
}

template <DType kX>
Status prepare(const Request& r, void* params, void* packed) {
  Params& p = *static_cast<Params*>(params);
  EDGERUN_TRY(resolve(r, kX, &p));
  const ConvShape& s = p.s;
  const TensorView& w = r.in[1];
  const TensorView *bias = r.has(2) ? &r.in[2] : nullptr, *factors = p.q.raw ? nullptr : &r.in[3];
  const int64_t channels = s.out_channels, taps = s.kernel_h * s.kernel_w;
  const auto weight = [&](int64_t t, int64_t c) { return weight_at(w, t * channels + c); };
  const auto sum = [&](int64_t c) {
    int32_t all = 0;
    for (int64_t t = 0; t < taps; ++t) all += weight(t, c);
    return all;
  };
  EDGERUN_TRY(bounded_sums(channels, taps, bias, weight));
  const int32_t zero = p.bytes ? byte_zero(p.q.signed_x, p.q.x_zero) : 0;
  pack_epilogue(p.epilogue, bias, factors, 0, channels, zero, sum, static_cast<int32_t*>(packed));
  for (int64_t i = 0; i < p.epilogue.bytes() / 4; ++i) {
    int32_t* const list = static_cast<int32_t*>(packed) + i / p.epilogue.step() * p.epilogue.step();
    const int64_t k = i % p.epilogue.step();
    if (k >= channels && k < channels * p.fold) list[k] = list[k % channels];
  }
  void* out = static_cast<char*>(packed) + p.epilogue.bytes();
  if (p.bytes) pack_weights(p, w, static_cast<DotForm::A*>(out));
  else pack_weights(p, w, static_cast<word*>(out));
  if (p.audit.on) int_audit_pack(p.audit, {&w, 1, channels, 0}, bias, packed);
  return Status::ok;
}

// One chunk of channels of one image.
struct Chunk {
  const Params* p;
  int64_t first, count;  // output channels; `count` of them exist, outputs of a vector counted as channels
  int64_t step, width;   // elements between output pixels; pixels of an output row
  void* ring;
  const uint8_t* zeros;  // a row of x_zero
  const void* weights;   // of this chunk
  IntProduct out;        // start, factor, left of this chunk; c: the image at its first channel
};

// An element as the product takes it: minus its zero point as a word, as a byte otherwise (igemm.h).
template <class T> EDGERUN_SIMD void put_element(T x, int32_t zero, word* out) { *out = static_cast<word>(x - zero); }
template <class T> EDGERUN_SIMD void put_element(T x, int32_t, int8_t* out) { *out = static_cast<int8_t>(x ^ flip_of<T>()); }

// The elements of n channels of a group's rows, side by side.
template <class T>
EDGERUN_SIMD void side_by_side(const T* const* rows, int64_t n, int32_t zero, word* out) {
  int64_t k = 0;
#if defined(EDGERUN_SIMD_AVX2)
  const __m256i z = _mm256_set1_epi16(static_cast<int16_t>(zero));
  const auto wide = [&](__m128i bytes) __attribute__((always_inline)) {
    return _mm256_sub_epi16(T(-1) < T(0) ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes), z);
  };
  for (; k + 16 <= n; k += 16) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[0] + k));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[1] + k));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 2 * k), wide(_mm_unpacklo_epi8(a, b)));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 2 * k + 16), wide(_mm_unpackhi_epi8(a, b)));
  }
  for (; k + 8 <= n; k += 8) {
    const __m128i a = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(rows[0] + k));
    const __m128i b = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(rows[1] + k));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 2 * k), wide(_mm_unpacklo_epi8(a, b)));
  }
#endif
  for (; k < n; ++k)
    for (int i = 0; i < kGroup; ++i) out[k * kGroup + i] = static_cast<word>(rows[i][k] - zero);
}
template <class T>
EDGERUN_SIMD void side_by_side(const T* const* rows, int64_t n, int32_t zero, int8_t* out) {
  int64_t k = 0;
#if defined(EDGERUN_SIMD_NEON) && defined(__ARM_FEATURE_DOTPROD)
  const uint8x16_t flip = vdupq_n_u8(flip_of<T>());
  for (; k + 16 <= n; k += 16) {
    uint8x16x4_t all;
    for (int i = 0; i < 4; ++i) all.val[i] = veorq_u8(vld1q_u8(reinterpret_cast<const uint8_t*>(rows[i] + k)), flip);
    vst4q_u8(reinterpret_cast<uint8_t*>(out + 4 * k), all);
  }
  for (; k + 8 <= n; k += 8) {
    uint8x8x4_t all;
    for (int i = 0; i < 4; ++i) all.val[i] = veor_u8(vld1_u8(reinterpret_cast<const uint8_t*>(rows[i] + k)), vget_low_u8(flip));
    vst4_u8(reinterpret_cast<uint8_t*>(out + 4 * k), all);
  }
#elif defined(__AVX512VNNI__) || defined(__AVXVNNI__)
  const auto at = [](const void* p) __attribute__((always_inline)) { return static_cast<const __m128i*>(p); };
  const __m128i flip = _mm_set1_epi8(static_cast<char>(flip_of<T>()));
#if defined(EDGERUN_SIMD_AVX512)
  const __m512i quads = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i turned = _mm512_maskz_broadcast_i32x4(0xffff, _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m512i flips = _mm512_maskz_broadcast_i32x4(0xffff, flip);
  for (; k + 16 <= n; k += 16) {
    __m512i all = _mm512_castsi128_si512(_mm_loadu_si128(at(rows[0] + k)));
    all = _mm512_maskz_inserti32x4(0xffff, all, _mm_loadu_si128(at(rows[1] + k)), 1);
    all = _mm512_maskz_inserti32x4(0xffff, all, _mm_loadu_si128(at(rows[2] + k)), 2);
    all = _mm512_maskz_inserti32x4(0xffff, all, _mm_loadu_si128(at(rows[3] + k)), 3);
    all = _mm512_maskz_shuffle_epi8(~0ull, _mm512_maskz_permutexvar_epi32(0xffff, quads, all), turned);
    _mm512_storeu_si512(out + 4 * k, _mm512_xor_si512(all, flips));
  }
#endif
  const auto put = [&](int i, __m128i a) __attribute__((always_inline)) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 4 * k) + i, _mm_xor_si128(a, flip));
  };
  for (; k + 16 <= n; k += 16) {
    __m128i row[4];
    for (int i = 0; i < 4; ++i) row[i] = _mm_loadu_si128(at(rows[i] + k));
    const __m128i a = _mm_unpacklo_epi8(row[0], row[1]), b = _mm_unpacklo_epi8(row[2], row[3]);
    const __m128i c = _mm_unpackhi_epi8(row[0], row[1]), d = _mm_unpackhi_epi8(row[2], row[3]);
    put(0, _mm_unpacklo_epi16(a, b)), put(1, _mm_unpackhi_epi16(a, b));
    put(2, _mm_unpacklo_epi16(c, d)), put(3, _mm_unpackhi_epi16(c, d));
  }
  for (; k + 8 <= n; k += 8) {
    __m128i row[4];
    for (int i = 0; i < 4; ++i) row[i] = _mm_loadl_epi64(at(rows[i] + k));
    const __m128i a = _mm_unpacklo_epi8(row[0], row[1]), b = _mm_unpacklo_epi8(row[2], row[3]);
    put(0, _mm_unpacklo_epi16(a, b)), put(1, _mm_unpackhi_epi16(a, b));
  }
#endif
  for (; k < n; ++k)
    for (int i = 0; i < DotForm::kStep; ++i) put_element(rows[i][k], zero, out + 4 * k + i);
}

// The group row whose first input row is `top` (may lie outside the image).
template <class F, class T>
void build(const Chunk& c, const T* x, int64_t top, typename F::A* out) {
  using A = typename F::A;
  const Params& p = *c.p;
  const ConvShape& s = p.s;
  const int64_t left = least(s.pad_left, p.padded_width);
  const int64_t taken = most(0, least(s.width, p.padded_width - left)), right = p.padded_width - left - taken;
  const auto outside = static_cast<uint8_t>(p.bytes ? byte_zero(p.q.signed_x, p.q.x_zero) : 0);
  const T* rows[F::kStep];
  for (int i = 0; i < F::kStep; ++i) {
    const int64_t y = top + i * s.dilation_h;
    rows[i] = y < 0 || y >= s.height ? reinterpret_cast<const T*>(c.zeros) : x + y * s.width * s.channels;
  }
  constexpr int64_t kSize = sizeof(A);
  fill_bytes(out, outside, left * p.pixel * kSize);
  fill_bytes(out + (left + taken) * p.pixel, outside, right * p.pixel * kSize);
  out += left * p.pixel;
  if (p.multiplier == 1 && one_chunk(p)) return side_by_side(rows, taken * s.channels, p.q.x_zero, out);
  const int64_t pixel = p.pixel;
  if (p.multiplier == 1) {
    for (int i = 0; i < F::kStep; ++i) rows[i] += c.first;
    for (int64_t k = 0; k < taken; ++k, out += pixel) {
      side_by_side(rows, c.count, p.q.x_zero, out);
      for (int i = 0; i < F::kStep; ++i) rows[i] += s.channels;
    }
    return;
  }
  for (int64_t k = 0; k < taken; ++k, out += pixel)
    for (int64_t n = 0; n < c.count; ++n)
      for (int i = 0; i < F::kStep; ++i)
        put_element(rows[i][k * s.channels + (c.first + n) / p.multiplier], p.q.x_zero, out + n * F::kStep + i);
}

// `count` tiles of kPixels of the output row oy from ox on, channels [from, to) in steps of kVectors vectors.
template <class F, int kPixels, int kVectors>
EDGERUN_NOINLINE void tiles(const Chunk& c, const typename F::A* const* lines, int64_t oy, int64_t ox, int64_t count, int64_t from, int64_t to) {
  using A = typename F::A;
  constexpr int kVector = kLanes * F::kStep;  // elements
  const Params& p = *c.p;
  const ConvShape& s = p.s;
  const int64_t step = c.step, reach = s.dilation_w * p.pixel;
  const int64_t width = s.kernel_w, groups = p.groups, vector = groups * width * kVector, ldc = c.out.ldc;
  const int64_t size = c.out.factor ? 1 : 4;
  const Rescale rescale(c.out.narrow);
  const Narrower narrow(c.out.narrow);
  for (int64_t channel = from; channel < to; channel += kVectors * kLanes) {
    const int n = static_cast<int>(least(c.count - channel, kVectors * kLanes));
    const A* weights = static_cast<const A*>(c.weights) + channel * groups * width * F::kStep;
    const int32_t *start = c.out.start + channel, *factors = c.out.factor ? c.out.factor + channel : nullptr;
    const int32_t* shifts = c.out.left ? c.out.left + channel : nullptr;
    int64_t row = oy * c.width + ox;
    uint8_t* y = static_cast<uint8_t*>(c.out.c) + (row * ldc + channel) * size;
    int32_t kept[kPixels * kVectors * kLanes];
    Watch<kPixels, kVectors> watch(c.out, channel, n, kept);
    int64_t at = ox * step + channel * F::kStep;
    for (int64_t tile = 0; tile < count; ++tile, at += kPixels * step, row += kPixels, y += kPixels * ldc * size) {
      vi acc[kPixels][kVectors];
#pragma GCC unroll 8
      for (int i = 0; i < kPixels; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) acc[i][v] = loadu_int(start + v * kLanes);
      const A* w = weights;
      for (int64_t g = 0; g < groups; ++g) {
        const A* x = lines[g] + at;
        for (int64_t kx = 0; kx < width; ++kx, x += reach, w += kVector) {
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            const auto tap = F::load(w + v * vector);
#pragma GCC unroll 8
            for (int i = 0; i < kPixels; ++i) acc[i][v] = F::multiply(acc[i][v], F::load(x + i * step + v * kVector), tap);
          }
        }
      }
      if (EDGERUN_UNLIKELY(watch.on) && !watch.before(c.out, row, acc)) return;
      if (factors) {
        store_rescaled(acc, factors, shifts, rescale, narrow, y, ldc, n);
      } else {
        store_sums(acc, reinterpret_cast<int32_t*>(y), ldc, n);
      }
      if (EDGERUN_UNLIKELY(watch.on) && !watch.after(c.out, row, y)) {
        Chunk again = c;
        again.out = exactly(c.out);
        tiles<F, kPixels, kVectors>(again, lines, oy, ox + tile * kPixels, 1, channel, channel + n);
      }
    }
  }
}

template <class F, int kVectors>
void row_tiles(const Chunk& c, const typename F::A* const* lines, int64_t oy, int64_t width, int64_t from, int64_t to) {
  const int64_t left = width % kTilePixels;
  // four pixels and one or two more are taken at once
  const int64_t whole = width / kTilePixels - (kTilePixels == 4 && width > left && (left == 1 || left == 2)), ox = whole * kTilePixels;
  if (whole > 0) tiles<F, kTilePixels, kVectors>(c, lines, oy, 0, whole, from, to);
  if constexpr (kTilePixels == 8) {
    if (width - ox == 7) tiles<F, 7, kVectors>(c, lines, oy, ox, 1, from, to);
    if (width - ox == 4) tiles<F, 4, kVectors>(c, lines, oy, ox, 1, from, to);
  }
  if (width - ox == 6) tiles<F, 6, kVectors>(c, lines, oy, ox, 1, from, to);
  if (width - ox == 5) tiles<F, 5, kVectors>(c, lines, oy, ox, 1, from, to);
  if (width - ox == 3) tiles<F, 3, kVectors>(c, lines, oy, ox, 1, from, to);
  if (width - ox == 2) tiles<F, 2, kVectors>(c, lines, oy, ox, 1, from, to);
  if (width - ox == 1) tiles<F, 1, kVectors>(c, lines, oy, ox, 1, from, to);
}

// Output rows [begin, end) of one image.
template <class F, class T>
void chunk_rows(const Chunk& c, const T* x, int64_t begin, int64_t end) {
  using A = typename F::A;
  const Params& p = *c.p;
  const ConvShape& s = p.s;
  const A* lines[kMostGroups];
  A* ring = static_cast<A*>(c.ring);
  const int64_t rest = c.count % kWide, paired = c.count - rest + (rest > kLanes ? kWide : 0);
  const int64_t base = begin * s.stride_h, rows = p.tall ? end - begin : 1;
  const auto slot = [&](int64_t y) { return ring + (y - base) / p.row_step % p.ring * p.line; };
  int64_t next = base;  // first input row (without padding) of the next group row to build
  for (int64_t oy = begin; oy < end; oy += rows) {
    const int64_t top = oy * s.stride_h, last = (oy + rows - 1) * s.stride_h;
    for (; next <= last + (p.groups - 1) * F::kStep * s.dilation_h; next += p.row_step)
      if (next >= top) build<F>(c, x, next - s.pad_top, slot(next));
    for (int64_t g = 0; g < p.groups; ++g) lines[g] = slot(top + g * F::kStep * s.dilation_h);
    const int64_t width = p.tall ? rows : c.width;
    if (paired > 0) row_tiles<F, 2>(c, lines, oy, width, 0, paired);
    if (paired < c.count) row_tiles<F, 1>(c, lines, oy, width, paired, c.count);
  }
}

template <class F>
void chunk_of(const Run& r, const Chunk& c, int64_t at, int64_t begin, int64_t end) {
  if (c.p->q.signed_x) chunk_rows<F>(c, r.in[0].as<const int8_t>() + at, begin, end);
  else chunk_rows<F>(c, r.in[0].as<const uint8_t>() + at, begin, end);
}

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  const ConvShape& s = p.s;
  Chunk c{};
  c.p = &p;
  c.ring = r.scratch;
  uint8_t* zeros = static_cast<uint8_t*>(r.scratch) + ring_bytes(p);
  __builtin_memset(zeros, p.q.x_zero & 255, static_cast<size_t>(s.width * s.channels));
  c.zeros = zeros;
  const int32_t* lists = static_cast<const int32_t*>(r.packed);
  const char* weights = static_cast<const char*>(r.packed) + p.epilogue.bytes();
  c.out.narrow = p.q.narrow, c.out.ldc = s.out_channels * p.fold;
  c.width = s.out_width / p.fold;
  c.step = p.tall ? s.stride_h / p.row_step * p.line : p.fold * s.stride_w * p.pixel;
  watch(r, p.q, p.audit, &c.out);
  const int64_t image = s.height * s.width * s.channels, results = s.out_height * s.out_width * s.out_channels;
  for (int64_t unit = r.begin; unit < r.end;) {
    const int64_t n = unit / s.out_height, begin = unit % s.out_height, end = least(s.out_height, begin + (r.end - unit));
    for (c.first = 0; c.first < s.out_channels; c.first += p.chunk) {
      c.count = least(p.chunk, s.out_channels - c.first) * p.fold;
      c.weights = weights + c.first * p.groups * s.kernel_w * p.step * element_size(p);
      use_epilogue(p.epilogue, lists, &c.out);
      c.out.start += c.first;
      if (c.out.factor) c.out.factor += c.first;
      if (c.out.left) c.out.left += c.first;
      c.out.flat = n * results + c.first, c.out.columns = c.count;
      c.out.c = r.out[0].as<char>() + c.out.flat * (p.q.raw ? 4 : 1);
      locate_fault(&c.out, s.out_height * c.width);
      if constexpr (kHasBytes)
        if (p.bytes) chunk_of<DotForm>(r, c, n * image, begin, end);
      if (!p.bytes) chunk_of<WordsForm>(r, c, n * image, begin, end);
    }
    unit += end - begin;
  }
  if (c.out.seen)  // the checksum's lanes are channels
    for (int64_t k = s.out_channels; k < s.out_channels * p.fold; ++k) c.out.seen[k % s.out_channels] += c.out.seen[k], c.out.seen[k] = 0;
}

void audit(const Run& r) { int_audit(r, static_cast<const Params*>(r.params)->audit); }

}  // namespace
extern const Kernel qconv2d_dw_i8_kernel{"qconv2d_dw_i8", query<DType::i8>, prepare<DType::i8>, run, audit};
extern const Kernel qconv2d_dw_u8_kernel{"qconv2d_dw_u8", query<DType::u8>, prepare<DType::u8>, run, audit};
EDGERUN_ISA_END
