// difficulty_f32: how hard an image is, in [0, 1] (DART, arXiv 2603.12269, Eq. 1-8; docs/early-exit.md).
// x[N,C,H,W] (layout 0) or [N,H,W,C] (layout 1), N may be left out when it is 1 → y[4] or y[N,4] = (alpha, edge,
// variance, laplacian). With pixels p = x·scale + offset and grey g = Σ gray·p, the border of g repeated outwards:
//   edge = share of positions whose Sobel magnitude of g exceeds tau_edge (squares are compared)
//   variance = mean over channels of the spatial variance of p       laplacian = mean |4 g − up − down − left − right|
//   alpha = clip(Σ weights·clip((value − low) / (high − low), 0, 1), 0, 1)
// One pass: each row of pixels updates the variance sums and writes one row of g; the stencils follow two rows behind,
// so that the rows they read have left the store buffer. A unit is one image: its result depends on nothing else, bit
// for bit. NaN in the image makes variance, laplacian and alpha NaN. Sums go to f64 at least every kFlush vectors.
#include "operand.h"
#include "simd.h"

EDGERUN_ISA_BEGIN
namespace {
constexpr int64_t kFlush = 128;
constexpr int kRing = 4;

struct Params {
  int64_t n, c, h, w;
  int64_t pitch;     // floats between rows of g, borders included
  bool interleaved;  // NHWC with more than one channel
  float tau_squared, low[3], high[3], weights[3];
  float* channel() { return reinterpret_cast<float*>(this + 1); }  // scale[c] offset[c] gray[c]
  const float* channel() const { return reinterpret_cast<const float*>(this + 1); }
};

Status resolve(const Request& r, Params* p, bool fill) {
  EDGERUN_TRY(arity(r, 1, 1, 1));
  const TensorView &x = r.in[0], &y = r.out[0];
  EDGERUN_TRY(sound(x, DType::f32));
  EDGERUN_TRY(sound(y, DType::f32));
  if (x.rank != 3 && x.rank != 4) return Status::bad_rank;
  int64_t layout;
  if (!ints(r, "layout", 1, &layout) || layout < 0 || layout > 1) return Status::bad_attribute;
  const int64_t* d = x.dims + x.rank - 3;
  p->n = x.rank == 4 ? x.dims[0] : 1;
  p->c = layout ? d[2] : d[0], p->h = layout ? d[0] : d[1], p->w = layout ? d[1] : d[2];
  p->interleaved = layout && p->c > 1;
  if (p->c < 1 || p->h < 1 || p->w < 1) return Status::bad_shape;
  const int64_t limit = int64_t{1} << 24;  // scratch stays far below a 32-bit size
  if (p->c > 4096 || p->h > limit || p->w > limit || p->c * p->w > limit) return Status::too_large;
  if (!(y.rank == 1 && y.dims[0] == 4 && p->n == 1) && !(y.rank == 2 && y.dims[0] == p->n && y.dims[1] == 4))
    return Status::bad_shape;
  p->pitch = ceil_div(p->w, kLanes) * kLanes + 2 * kLanes;
  float tau;
  if (!floats(r, "tau_edge", 1, &tau) || !(tau >= 0.f)) return Status::bad_attribute;
  p->tau_squared = tau * tau;
  if (!floats(r, "low", 3, p->low) || !floats(r, "high", 3, p->high) || !floats(r, "weights", 3, p->weights))
    return Status::bad_attribute;
  for (int k = 0; k < 3; ++k)
    if (!(p->high[k] > p->low[k]) || p->weights[k] - p->weights[k] != 0.f) return Status::bad_attribute;
  const int32_t c = static_cast<int32_t>(p->c);
  if (r.attrs.size("scale") != c || r.attrs.size("offset") != c || r.attrs.size("gray") != c)
    return Status::bad_attribute;
  if (!fill) return Status::ok;
  const bool read = floats(r, "scale", c, p->channel()) && floats(r, "offset", c, p->channel() + c) &&
                    floats(r, "gray", c, p->channel() + 2 * c);
  return read ? Status::ok : Status::bad_attribute;
}

Status query(const Request& r, Need* need) {
  Params p;
  EDGERUN_TRY(resolve(r, &p, false));
  const double positions = static_cast<double>(p.n) * static_cast<double>(p.h * p.w);
  const size_t planar = p.interleaved ? static_cast<size_t>(p.c * p.w) : 0;
  need->params = sizeof p + 3 * static_cast<size_t>(p.c) * sizeof(float);
  need->scratch = (static_cast<size_t>(kRing * p.pitch + 2 * p.c * kLanes + p.c) + planar) * sizeof(float) +
                  2 * static_cast<size_t>(p.c) * sizeof(double);
  need->units = p.n;
  need->work = positions * (24.0 + 6.0 * static_cast<double>(p.c));
  need->bytes = 4.0 * static_cast<double>(r.in[0].elements());
  return Status::ok;
}

Status prepare(const Request& r, void* params, void*) { return resolve(r, static_cast<Params*>(params), true); }

// One row of pixels: adds to sums[2c] (Σ d) and sums[2c + 1] (Σ d²), d = p − the image's first pixel, and writes g.
template <int kChannels> inline void pixel_row(const float* x, int64_t plane, int64_t channels, const float* channel,
                                               const float* first, int64_t w, float* sums, float* g) {
  const int64_t all = kChannels ? kChannels : channels;
  constexpr int kTogether = kChannels ? kChannels : 1;
  for (int64_t c = 0; c < all; c += kTogether) {
    vf scale[kTogether], offset[kTogether], gray[kTogether], base[kTogether], sum[kTogether], squares[kTogether];
    for (int k = 0; k < kTogether; ++k) {
      scale[k] = broadcast(channel[c + k]), offset[k] = broadcast(channel[all + c + k]);
      gray[k] = broadcast(channel[2 * all + c + k]), base[k] = broadcast(first[c + k]);
      sum[k] = load(sums + (c + k) * 2 * kLanes), squares[k] = load(sums + (c + k) * 2 * kLanes + kLanes);
    }
    const float* from = x + c * plane;
    int64_t j = 0;
    for (; j + kLanes <= w; j += kLanes) {
      vf v = c > 0 ? load(g + j) : zero();
      for (int k = 0; k < kTogether; ++k) {
        const vf p = fma(loadu(from + k * plane + j), scale[k], offset[k]), d = sub(p, base[k]);
        sum[k] = add(sum[k], d);
        squares[k] = fma(d, d, squares[k]);
        v = fma(p, gray[k], v);
      }
      store(g + j, v);
    }
    if (j < w) {
      const int rest = static_cast<int>(w - j);
      const vm inside = first_lanes(rest);
      vf v = c > 0 ? load(g + j) : zero();
      for (int k = 0; k < kTogether; ++k) {
        const vf p = fma(load_partial(from + k * plane + j, rest), scale[k], offset[k]);
        const vf d = as_float(as_int(sub(p, base[k])) & inside);
        sum[k] = add(sum[k], d);
        squares[k] = fma(d, d, squares[k]);
        v = fma(p, gray[k], v);
      }
      store(g + j, v);
    }
    for (int k = 0; k < kTogether; ++k)
      store(sums + (c + k) * 2 * kLanes, sum[k]), store(sums + (c + k) * 2 * kLanes + kLanes, squares[k]);
  }
  g[-1] = g[0];
  g[w] = g[w - 1];
}

struct Stencils {
  vi edges;
  vf laplacian;
};

EDGERUN_SIMD void stencil(const float* up, const float* mid, const float* down, vf tau_squared, vm inside,
                          Stencils* s) {
  const vf two = broadcast(2.f), four = broadcast(4.f);
  const vf ul = loadu(up - 1), uc = load(up), ur = loadu(up + 1), l = loadu(mid - 1), m = load(mid), r = loadu(mid + 1);
  const vf dl = loadu(down - 1), dc = load(down), dr = loadu(down + 1);
  const vf gx = fma(two, sub(r, l), add(sub(ur, ul), sub(dr, dl)));
  const vf gy = fma(two, sub(dc, uc), add(sub(dl, ul), sub(dr, ur)));
  const vf lap = abs(sub(fma(four, m, neg(add(uc, dc))), add(l, r)));
  s->edges -= less(tau_squared, fma(gx, gx, mul(gy, gy))) & inside;
  s->laplacian = add(s->laplacian, as_float(as_int(lap) & inside));
}

inline void stencil_row(const float* up, const float* mid, const float* down, int64_t w, vf tau_squared, Stencils* s) {
  Stencils t = *s;
  int64_t j = 0;
  for (; j + kLanes <= w; j += kLanes) stencil(up + j, mid + j, down + j, tau_squared, broadcast_int(-1), &t);
  if (j < w) stencil(up + j, mid + j, down + j, tau_squared, first_lanes(static_cast<int>(w - j)), &t);
  *s = t;
}

inline double unit_range(double v) { return v < 0 ? 0 : v > 1 ? 1 : v; }

// Takes a row of interleaved pixels apart: y[c·w + j] = x[j·channels + c].
inline void planes(const float* __restrict x, int64_t channels, int64_t w, float* __restrict y) {
  if (channels == 3) {
    for (int64_t j = 0; j < w; ++j)
      for (int64_t c = 0; c < 3; ++c) y[c * w + j] = x[j * 3 + c];
    return;
  }
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t j = 0; j < w; ++j) y[c * w + j] = x[j * channels + c];
}

struct Image {
  float *ring, *sums, *first, *planar;
  double* totals;
  double laplacian;
  int64_t edges;
};

void flush(const Params& p, Image* m, Stencils* s) {
  for (int64_t k = 0; k < 2 * p.c; ++k) {
    m->totals[k] += static_cast<double>(reduce_add(load(m->sums + k * kLanes)));
    store(m->sums + k * kLanes, zero());
  }
  for (int k = 0; k < kLanes; ++k) m->edges += s->edges[k];
  m->laplacian += static_cast<double>(reduce_add(s->laplacian));
  *s = Stencils{};
}

void one_image(const Params& p, const float* x, float* scratch, float* y) {
  const int64_t w = p.w, h = p.h, c = p.c;
  Image m;
  m.ring = scratch + kLanes;
  m.sums = scratch + kRing * p.pitch;
  m.totals = reinterpret_cast<double*>(m.sums + 2 * c * kLanes);
  m.first = reinterpret_cast<float*>(m.totals + 2 * c);
  m.planar = m.first + c;
  m.laplacian = 0, m.edges = 0;
  for (int64_t k = 0; k < 2 * c; ++k) m.totals[k] = 0, store(m.sums + k * kLanes, zero());
  for (int64_t k = 0; k < c; ++k) {
    const float v = x[p.interleaved ? k : k * h * w];
    m.first[k] = fma(broadcast(v), broadcast(p.channel()[k]), broadcast(p.channel()[c + k]))[0];
  }
  const vf tau_squared = broadcast(p.tau_squared);
  Stencils s{};
  const int64_t vectors = ceil_div(w, kLanes);
  for (int64_t i = 0, since = 0; i < h + 2; ++i) {
    if (i < h) {
      float* g = m.ring + i % kRing * p.pitch;
      const float* from = x + i * w;
      int64_t plane = h * w;
      if (p.interleaved) planes(x + i * w * c, c, w, m.planar), from = m.planar, plane = w;
      if (c == 1)
        pixel_row<1>(from, plane, c, p.channel(), m.first, w, m.sums, g);
      else if (c == 3)
        pixel_row<3>(from, plane, c, p.channel(), m.first, w, m.sums, g);
      else
        pixel_row<0>(from, plane, c, p.channel(), m.first, w, m.sums, g);
    }
    if (i >= 2) {
      const int64_t j = i - 2, up = j > 0 ? j - 1 : 0, down = j + 1 < h ? j + 1 : j;
      stencil_row(m.ring + up % kRing * p.pitch, m.ring + j % kRing * p.pitch, m.ring + down % kRing * p.pitch, w,
                  tau_squared, &s);
    }
    since += vectors;
    if (since >= kFlush || i + 1 == h + 2) flush(p, &m, &s), since = 0;
  }
  const double count = static_cast<double>(h) * static_cast<double>(w);
  double variance = 0;
  for (int64_t k = 0; k < c; ++k) {
    const double mean = m.totals[2 * k] / count, v = m.totals[2 * k + 1] / count - mean * mean;
    variance += v < 0 ? 0 : v;
  }
  const double values[3] = {static_cast<double>(m.edges) / count, variance / static_cast<double>(c),
                            m.laplacian / count};
  double alpha = 0;
  for (int k = 0; k < 3; ++k) {
    const double low = p.low[k], high = p.high[k];
    alpha += static_cast<double>(p.weights[k]) * unit_range((values[k] - low) / (high - low));
    y[k + 1] = static_cast<float>(values[k]);
  }
  y[0] = static_cast<float>(unit_range(alpha));
}

void run(const Run& r) {
  const Params& p = *static_cast<const Params*>(r.params);
  for (int64_t u = r.begin; u < r.end; ++u)
    one_image(p, r.in[0].as<const float>() + u * p.c * p.h * p.w, static_cast<float*>(r.scratch),
              r.out[0].as<float>() + 4 * u);
}
}  // namespace
extern const Kernel difficulty_f32_kernel{"difficulty_f32", query, prepare, run};
EDGERUN_ISA_END
