#include "quant/checksum_i8.h"

#include "quant/byte_sums.h"
#include "quant/words.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int64_t kMostTaps = 256;         // of one axis, times the period of its weights
inline constexpr int64_t kPixelsPerUnit = 64;     // where rows of x are pixels
inline constexpr int64_t kMostWindowStep = 64, kMostOutside = 128;
inline constexpr int64_t kLargestSums = int64_t{1} << 28;  // elements
inline constexpr int kChains = 4;

int64_t rounded(int64_t n, int64_t to) { return ceil_div(n, to) * to; }

// What tap k of an output weighs at this position; 0: it does not meet it.
int32_t weight_of(const TapLine& a, int64_t k, int64_t at) {
  const int64_t from = at + a.pad - k * a.dilation;
  if (from < 0 || from % a.stride != 0 || from / a.stride >= a.out) return 0;
  return a.weight(from / a.stride);
}

// A tap meets positions of equal distance; where any of these begin or end, a stretch does. Returns how many.
int32_t find_stretches(const TapLine& a, Stretch* out) {
  int64_t bounds[2 * kMostTaps];
  int32_t n = 0, count = 0;
  const int64_t step = a.step();
  for (int64_t k = 0; k < a.kernel; ++k)
    for (int64_t f = 0; f < a.period() && f < a.out; ++f) {
      const int64_t base = k * a.dilation - a.pad + f * a.stride;
      const int64_t first = base < 0 ? ceil_div(-base, step) : 0;
      const int64_t last = base >= a.size ? -1 : least((a.out - 1 - f) / a.period(), (a.size - 1 - base) / step);
      if (first > last) continue;
      const int64_t ends[2] = {base + first * step, base + (last + 1) * step};
      for (const int64_t b : ends) {
        int32_t i = n++;
        for (; i > 0 && bounds[i - 1] > b; --i) bounds[i] = bounds[i - 1];
        bounds[i] = b;
      }
    }
  for (int32_t i = 0; i < n; ++i) {
    const int64_t begin = bounds[i];
    if (begin >= a.size || (i > 0 && bounds[i - 1] == begin)) continue;
    bool met = false;
    for (int64_t k = 0; k < a.kernel; ++k) met |= weight_of(a, k, begin) != 0;
    if (!met) continue;
    int32_t j = i + 1;
    while (j < n && (bounds[j] == begin || (bounds[j] - begin) % step != 0)) ++j;
    if (j == n) continue;  // cannot be: what meets this position ends
    const auto members = static_cast<int32_t>((bounds[j] - begin) / step);
    if (out) out[count] = {static_cast<int32_t>(begin), members, members, 0, 0};
    ++count;
  }
  return count;
}

// Where the sums of a column outside of the window are.
int64_t place_outside(const IntAudit& a, int64_t column) {
  const int64_t step = a.across.step();
  return step + (column < a.window ? column : column - a.window_count * step);
}

// Columns that one pass can sum, whatever their place in a step: the longest stretch of each place has to have them.
void find_window(IntAudit* a, Stretch* s, int32_t n) {
  const int64_t step = a->across.step();
  int32_t longest[kMostWindowStep];
  a->window_count = 0;
  a->sums = n;
  for (int32_t i = 0; i < n; ++i) s[i].at = i;
  if (step > kMostWindowStep) return;
  int64_t used = 0, latest = 0;
  for (int64_t f = 0; f < step; ++f) {
    longest[f] = -1;
    for (int32_t i = 0; i < n; ++i)
      if (s[i].begin % step == f && (longest[f] < 0 || s[longest[f]].count < s[i].count)) longest[f] = i;
    if (longest[f] < 0) continue;
    ++used;
    latest = most(latest, s[longest[f]].begin);
  }
  if (used == 0 || (used * 2 <= step && a->channels >= kBytes)) return;
  const auto first_in = [&](int64_t f, int64_t from) { return from + (f - from % step + step) % step; };
  for (int64_t from = most(0, latest - step + 1); from <= latest; ++from) {
    int64_t members = (a->across.size - from) / step;
    for (int64_t f = 0; f < step; ++f) {
      if (longest[f] < 0) continue;
      const Stretch& l = s[longest[f]];
      const int64_t first = first_in(f, from);
      members = first < l.begin ? 0 : least(members, l.count - (first - l.begin) / step);
    }
    if (members > a->window_count) a->window_count = members, a->window = from;
  }
  const int64_t outside = a->across.size - a->window_count * step;
  if (a->window_count < 2 || outside > kMostOutside) {
    a->window_count = 0;
    return;
  }
  a->sums = step + outside;
  for (int32_t i = 0; i < n; ++i) s[i].at = static_cast<int32_t>(place_outside(*a, s[i].begin));
  for (int64_t f = 0; f < step; ++f) {
    if (longest[f] < 0) continue;
    Stretch& l = s[longest[f]];
    const int64_t first = first_in(f, a->window);
    l.before = static_cast<int32_t>((first - l.begin) / step);
    l.after = static_cast<int32_t>(l.count - l.before - a->window_count);
    l.at = static_cast<int32_t>(first - a->window);
  }
}

int64_t regions_of(const IntAudit& a) { return a.plain ? 1 : int64_t{a.row_stretches} * a.column_stretches; }
int64_t region_words(const IntAudit& a) {
  if (a.words) return rounded(a.channels, kGroup) * kLanes * 2 / 4;
  return a.by_channel ? rounded(a.channels, kLanes) : a.channels * kLanes;
}
int64_t stretch_bytes(const IntAudit& a) {
  return a.plain ? 0 : rounded((a.row_stretches + a.column_stretches) * static_cast<int64_t>(sizeof(Stretch)), kCacheLine);
}

struct Packed {
  const Stretch *rows, *columns;
  const int32_t *constant, *weights;  // [kLanes], [regions][region_words]
};
Packed packed_at(const IntAudit& a, const void* packed) {
  const char* at = static_cast<const char*>(packed) + a.at;
  const Stretch* rows = reinterpret_cast<const Stretch*>(at);
  const int32_t* constant = reinterpret_cast<const int32_t*>(at + stretch_bytes(a));
  return {rows, rows + a.row_stretches, constant, constant + kChecksumLanes};
}

uint32_t weight_at(const TensorView& w, int64_t k) {
  return static_cast<uint32_t>(w.dtype == DType::i8 ? w.as<const int8_t>()[k] : w.as<const int16_t>()[k]);
}

}  // namespace

void int_audit_resolve(size_t packed, IntAudit* a) {
  a->at = (packed + kCacheLine - 1) / kCacheLine * kCacheLine;
  a->row_stretches = a->column_stretches = 0;
  a->window = a->window_count = 0;
  a->sums = 1;
  if (!a->on || a->plain) return;
  const TapLine* lines[2] = {&a->rows, &a->across};
  for (const TapLine* line : lines)
    if (line->kernel * line->period() > kMostTaps || line->size > INT32_MAX / 2) a->on = false;
  if (!a->on) return;
  Stretch columns[2 * kMostTaps];
  a->row_stretches = find_stretches(a->rows, nullptr);
  a->column_stretches = find_stretches(a->across, columns);
  find_window(a, columns, a->column_stretches);
  if (regions_of(*a) * region_words(*a) > kLargestSums || a->sums * a->channels > kLargestSums) a->on = false;
}

size_t int_audit_packed(const IntAudit& a) {
  return !a.on ? 0 : static_cast<size_t>(stretch_bytes(a) + (kChecksumLanes + regions_of(a) * region_words(a)) * 4);
}
size_t int_audit_table(const IntAudit& a) { return static_cast<size_t>(stretch_bytes(a)); }
size_t int_audit_scratch(const IntAudit& a) {
  const int64_t words = a.words ? rounded(a.channels, kGroup) * 2 : 0;
  return !a.on ? 0 : static_cast<size_t>((a.sums * a.channels + kLanes) * 4 + words);
}
int64_t int_audit_units(const IntAudit& a) {
  return !a.on ? 0 : a.plain ? ceil_div(a.batch * a.pixels, kPixelsPerUnit) : a.batch * a.rows.size;
}

void int_audit_pack(const IntAudit& a, const IntWeights& w, const TensorView* bias, void* packed) {
  const Packed at = packed_at(a, packed);
  Stretch *rows = const_cast<Stretch*>(at.rows), *columns = const_cast<Stretch*>(at.columns);
  if (!a.plain) {
    IntAudit same = a;
    find_stretches(a.rows, rows);
    find_stretches(a.across, columns);
    find_window(&same, columns, a.column_stretches);
  }
  const int64_t each = a.channels / a.group, words = region_words(a), taps_wide = a.plain ? 1 : a.across.kernel;
  const int64_t taps = taps_wide * (a.plain ? 1 : a.rows.kernel);
  uint32_t* out = reinterpret_cast<uint32_t*>(const_cast<int32_t*>(at.weights));
  uint32_t of_zero[kLanes] = {};  // of a.words: all weights, which x's zero point meets in every pixel
  __builtin_memset(out, 0, static_cast<size_t>(regions_of(a) * words) * 4);
  for (int64_t c = 0; c < a.channels; ++c)
    for (int64_t t = 0; t < taps; ++t) {
      const int64_t first = c / each * a.columns;
      uint32_t sum[kLanes] = {};
      for (int64_t n = first; n < first + a.columns; ++n)
        sum[(a.over_groups ? n : n - first) % kLanes] += weight_at(*w.w, n * w.per_column + t * w.per_tap + c % each * w.per_channel);
      const auto add = [&](int64_t region, uint32_t weight) {
        uint32_t* to = out + region * words + (a.by_channel ? c : c * kLanes);
        if (a.by_channel) *to += weight * sum[first % kLanes];
        else for (int j = 0; j < kLanes; ++j) to[j] += weight * sum[j];
      };
      if (a.words) {
        word* to = reinterpret_cast<word*>(out) + c / kGroup * kGroup * kLanes + c % kGroup;
        for (int j = 0; j < kLanes; ++j) to[j * kGroup] = static_cast<word>(sum[j]), of_zero[j] += sum[j];
      } else if (a.plain) {
        add(0, 1);
      }
      for (int32_t r = 0; r < a.row_stretches; ++r) {
        const int32_t down = weight_of(a.rows, t / taps_wide, rows[r].begin);
        for (int32_t j = 0; down != 0 && j < a.column_stretches; ++j)
          if (const int32_t over = weight_of(a.across, t % taps_wide, columns[j].begin))
            add(int64_t{r} * a.column_stretches + j, static_cast<uint32_t>(down * over));
      }
    }

  // What does not depend on x: the bias, and x's zero point met by the weights.
  const auto zero = static_cast<uint32_t>(a.zero + (a.is_signed ? ByteSums<true>::kExcess : 0));
  uint32_t* constant = reinterpret_cast<uint32_t*>(const_cast<int32_t*>(at.constant));
  __builtin_memset(constant, 0, kChecksumLanes * 4);
  for (int64_t i = 0; i < regions_of(a); ++i) {
    const auto members = static_cast<uint32_t>(
        a.plain ? a.pixels : int64_t{rows[i / a.column_stretches].count} * columns[i % a.column_stretches].count);
    for (int64_t k = 0; k < words && !a.words; ++k) constant[k % kLanes] -= members * zero * out[i * words + k];
    for (int j = 0; j < kLanes; ++j) constant[j] -= members * zero * of_zero[j];
  }
  uint32_t outputs = static_cast<uint32_t>(a.pixels);
  if (!a.plain) {
    uint32_t high = 0, wide = 0;
    for (int64_t o = 0; o < a.rows.out; ++o) high += static_cast<uint32_t>(a.rows.weight(o));
    for (int64_t o = 0; o < a.across.out; ++o) wide += static_cast<uint32_t>(a.across.weight(o));
    outputs = high * wide;
  }
  for (int64_t n = 0; bias && n < a.group * a.columns; ++n)
    constant[(a.over_groups ? n : n % a.columns) % kLanes] += outputs * static_cast<uint32_t>(bias->as<const int32_t>()[n]);
  for (int j = 0; j < kLanes; ++j) constant[j] *= static_cast<uint32_t>(a.batch);
}

namespace {

// The same where what one step takes is less than a vector: whole rows first, their columns then.
template <bool kSigned>
void sum_narrow_rows(const IntAudit& a, const Stretch* columns, const Places& rows, uint32_t* sums) {
  const int64_t c = a.channels, step = a.across.step(), end = a.window + a.window_count * step;
  uint32_t wide[kWideSums];
  __builtin_memset(wide, 0, static_cast<size_t>(rows.length) * 4);
  sum_bytes<kSigned>(rows, wide);
  const auto add = [&](int64_t column, int64_t place) {
    for (int64_t k = 0; k < c; ++k) sums[place * c + k] += wide[column * c + k];
  };
  if (a.window_count == 0) {
    for (int32_t j = 0; j < a.column_stretches; ++j)
      for (int32_t i = 0; i < columns[j].count; ++i) add(columns[j].begin + i * step, columns[j].at);
    return;
  }
  for (int64_t k = 0; k < a.window; ++k) add(k, place_outside(a, k));
  for (int64_t from = a.window; from < end; from += step)
    for (int64_t k = 0; k < step * c; ++k) sums[k] += wide[from * c + k];
  for (int64_t k = end; k < a.across.size; ++k) add(k, place_outside(a, k));
}

// Sums of `count` rows of a stretch, the first at x; all columns. before, after: bytes around these rows that may be read, too.
template <bool kSigned>
void sum_rows(const IntAudit& a, const Stretch* columns, const uint8_t* x, int64_t count, int64_t before, int64_t after, uint32_t* sums) {
  const int64_t c = a.channels, line = a.across.size * c, apart = a.rows.step() * line, step = a.across.step();
  if (step * c < kBytes && line <= kWideSums) return sum_narrow_rows<kSigned>(a, columns, {x, 1, 0, count, apart, line, before, after}, sums);
  if (a.window_count == 0) {
    for (int32_t j = 0; j < a.column_stretches; ++j)
      sum_bytes<kSigned>({x + columns[j].begin * c, count, apart, columns[j].count, step * c, c}, sums + columns[j].at * c);
    return;
  }
  const int64_t end = a.window + a.window_count * step;
  sum_bytes<kSigned>({x + a.window * c, count, apart, a.window_count, step * c, step * c}, sums);
  if (a.window > 0) sum_bytes<kSigned>({x, count, apart, 1, 0, a.window * c, 0, line - a.window * c}, sums + step * c);
  if (end < a.across.size)
    sum_bytes<kSigned>({x + end * c, count, apart, 1, 0, line - end * c, end * c, 0}, sums + (step + a.window) * c);
}

// A stretch's sums in one place.
void gather(const IntAudit& a, const Stretch& s, uint32_t* sums) {
  uint32_t* to = sums + s.at * a.channels;
  const auto add = [&](int64_t column) {
    const uint32_t* from = sums + place_outside(a, column) * a.channels;
    for (int64_t c = 0; from != to && c < a.channels; ++c) to[c] += from[c];
  };
  const int64_t step = a.across.step();
  for (int64_t i = 0; i < s.before; ++i) add(s.begin + i * step);
  for (int64_t i = s.count - s.after; i < s.count; ++i) add(s.begin + i * step);
}

// total += sums[channels] times the weights of a region.
EDGERUN_SIMD void add_products(const IntAudit& a, const uint32_t* sums, const int32_t* w, vu (&total)[kChains]) {
  const auto weights = [&](int64_t k) __attribute__((always_inline)) { return (vu)loadu_int(w + k * kLanes); };
  const auto every = [&](int64_t k) __attribute__((always_inline)) { return (vu)broadcast_int(static_cast<int32_t>(sums[k])); };
  int64_t k = 0;
  if (a.by_channel) {  // what is read behind the last channel meets weights of 0
    const auto some = [&](int64_t i) __attribute__((always_inline)) { return (vu)loadu_int(reinterpret_cast<const int32_t*>(sums) + i * kLanes); };
    for (; k < ceil_div(a.channels, kLanes); ++k) total[k % kChains] += some(k) * weights(k);
    return;
  }
  for (; k + kChains <= a.channels; k += kChains)
    for (int i = 0; i < kChains; ++i) total[i] += every(k + i) * weights(k + i);
  for (; k < a.channels; ++k) total[0] += every(k) * weights(k);
}

// Sums over `rows` rows of `count` places each, kBytes channels at x.
template <bool kSigned>
EDGERUN_SIMD void sum_channels(const uint8_t* x, int64_t rows, int64_t apart, int64_t count, int64_t stride, vu (&sum)[4]) {
  const auto drain = [&](const ByteSums<kSigned>& some) __attribute__((always_inline)) {
    vi wide[4];
    some.widen(wide);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sum[i] += (vu)wide[i];
  };
  for (int64_t from = 0; from < count; from += kMostPlaces, x += kMostPlaces * stride) {
    const int64_t n = least(kMostPlaces, count - from), at_once = kMostPlaces / n;
    for (int64_t row = 0; row < rows;) {
      ByteSums<kSigned> some;
      for (const int64_t end = least(rows, row + at_once); row < end; ++row) {
        const uint8_t* at = x + row * apart;
        int64_t k = 0;
        for (; k + 2 <= n; k += 2, at += 2 * stride) some.add(loadu_bytes(at), loadu_bytes(at + stride));
        if (k < n) some.add(loadu_bytes(at));
      }
      drain(some);
    }
  }
}

// Depthwise: every channel by itself, its sums meet its weights in registers.
template <bool kSigned>
void audit_channels(const Run& r, const IntAudit& a, vu (&total)[kChains]) {
  static_assert(kChains == 4 && kBytes == 4 * kLanes, "a vector of bytes widens to as many of int32");
  const Packed at = packed_at(a, r.packed);
  const uint8_t* x = r.in[0].as<const uint8_t>();
  const int64_t height = a.rows.size, down = a.rows.step(), over = a.across.step() * a.channels, line = a.across.size * a.channels;
  for (int64_t done = 0; done < a.channels; done += kBytes) {
    const int64_t c = least(done, a.channels - kBytes);  // the last ones overlap: what has been counted weighs nothing
    vu mask[4];
    for (int i = 0; i < 4; ++i) mask[i] = (vu)broadcast_int(c + i * kLanes >= done ? -1 : 0);
    const int32_t* w = at.weights + c;
    for (int32_t s = 0; s < a.row_stretches; ++s)
      for (int32_t j = 0; j < a.column_stretches; ++j, w += region_words(a)) {
        vu sum[4] = {};
        for (int64_t top = r.begin / height * height; top < r.end; top += height) {
          const int64_t low = most(r.begin - top, 0) - at.rows[s].begin, high = least(r.end - top, height) - at.rows[s].begin;
          const int64_t first = low > 0 ? ceil_div(low, down) : 0, last = least(at.rows[s].count, high > 0 ? ceil_div(high, down) : 0);
          if (first >= last) continue;
          const uint8_t* from = x + (top + at.rows[s].begin + first * down) * line + at.columns[j].begin * a.channels + c;
          sum_channels<kSigned>(from, last - first, down * line, at.columns[j].count, over, sum);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) total[i] += (sum[i] & mask[i]) * (vu)loadu_int(w + i * kLanes);
      }
  }
}

// Rows of pixels, a unit of them at a time: its sums as words, which meet the words of the weights.
template <bool kSigned>
void audit_words(const Run& r, const IntAudit& a, vu (&total)[kChains]) {
  const Packed at = packed_at(a, r.packed);
  const uint8_t* x = r.in[0].as<const uint8_t>();
  const word* weights = reinterpret_cast<const word*>(at.weights);
  const int64_t pixels = a.batch * a.pixels, groups = ceil_div(a.channels, kGroup);
  uint32_t* sums = static_cast<uint32_t*>(r.scratch);
  word* some = reinterpret_cast<word*>(sums + a.channels + kLanes);
  if (groups * kGroup > a.channels) some[a.channels] = 0;
  for (int64_t unit = r.begin; unit < r.end; ++unit) {
    const int64_t first = unit * kPixelsPerUnit, last = least(pixels, first + kPixelsPerUnit);
    const uint8_t* from = x + first * a.channels;
    if (last - first == 1) {
      constexpr int32_t kExcess = ByteSums<kSigned>::kExcess;
      for (int64_t c = 0; c < a.channels; ++c) some[c] = static_cast<word>((kSigned ? static_cast<int8_t>(from[c]) : from[c]) + kExcess);
    } else {
      __builtin_memset(sums, 0, static_cast<size_t>(a.channels) * 4);
      sum_bytes<kSigned>({from, 1, 0, last - first, a.channels, a.channels}, sums);
      for (int64_t c = 0; c < a.channels; ++c) some[c] = static_cast<word>(sums[c]);
    }
    const auto product = [&](int64_t k) __attribute__((always_inline)) {  // sums of many may wrap
      return (vu)dot(vi{}, broadcast_group(some + k * kGroup), load_words(weights + k * kGroup * kLanes));
    };
    int64_t k = 0;
    for (; k + kChains <= groups; k += kChains)
#pragma GCC unroll 4
      for (int i = 0; i < kChains; ++i) total[i] += product(k + i);
    for (; k < groups; ++k) total[0] += product(k);
  }
}

template <bool kSigned>
void audit_units(const Run& r, const IntAudit& a, vu (&total)[kChains]) {
  const Packed at = packed_at(a, r.packed);
  const uint8_t* x = r.in[0].as<const uint8_t>();
  uint32_t* sums = static_cast<uint32_t*>(r.scratch);
  const size_t bytes = static_cast<size_t>(a.sums * a.channels) * 4;
  if (a.words) return audit_words<kSigned>(r, a, total);
  if (a.by_channel && a.channels >= kBytes && a.channels % kLanes == 0) return audit_channels<kSigned>(r, a, total);
  if (a.plain) {
    const int64_t first = r.begin * kPixelsPerUnit, last = least(a.batch * a.pixels, r.end * kPixelsPerUnit);
    __builtin_memset(sums, 0, bytes);
    sum_bytes<kSigned>({x + first * a.channels, 1, 0, last - first, a.channels, a.channels}, sums);
    return add_products(a, sums, at.weights, total);
  }
  const int64_t height = a.rows.size, step = a.rows.step(), line = a.across.size * a.channels, words = region_words(a);
  const int64_t all = a.batch * height;
  for (int32_t s = 0; s < a.row_stretches; ++s) {
    const Stretch& down = at.rows[s];
    bool any = false;
    __builtin_memset(sums, 0, bytes);
    for (int64_t top = r.begin / height * height; top < r.end; top += height) {
      const int64_t low = most(r.begin - top, 0) - down.begin, high = least(r.end - top, height) - down.begin;
      const int64_t first = low > 0 ? ceil_div(low, step) : 0, last = least(down.count, high > 0 ? ceil_div(high, step) : 0);
      if (first >= last) continue;
      any = true;
      const int64_t from = top + down.begin + first * step, to = from + (last - first - 1) * step + 1;
      sum_rows<kSigned>(a, at.columns, x + from * line, last - first, from * line, (all - to) * line, sums);
    }
    for (int32_t j = 0; any && a.window_count > 0 && j < a.column_stretches; ++j) gather(a, at.columns[j], sums);
    for (int32_t j = 0; any && j < a.column_stretches; ++j)
      add_products(a, sums + at.columns[j].at * a.channels, at.weights + (int64_t{s} * a.column_stretches + j) * words, total);
  }
}

}  // namespace

void int_audit(const Run& r, const IntAudit& a) {
  vu total[kChains] = {};
  if (a.is_signed) audit_units<true>(r, a, total);
  else audit_units<false>(r, a, total);
  const int32_t* constant = packed_at(a, r.packed).constant;
  uint32_t* difference = r.sink->checksum->difference;
  for (int j = 0; j < kLanes; ++j) {
    for (int i = 0; i < kChains; ++i) difference[j] -= total[i][j];
    if (r.begin == 0) difference[j] -= static_cast<uint32_t>(constant[j]);
  }
}

EDGERUN_ISA_END
