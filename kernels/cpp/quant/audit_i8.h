// What the exact checksum of an int8 product lets its operand expect: sums over bytes by region and channel meet sums of weights.
#pragma once
#include "quant/checksum_i8.h"

#include "quant/byte_sums.h"
#include "quant/words.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int64_t kPixelsPerUnit = 64;     // where rows of x are pixels
inline constexpr int kChains = 4;

int64_t rounded(int64_t n, int64_t to) { return ceil_div(n, to) * to; }

// Where the sums of a column outside of the window are.
int64_t place_outside(const IntAudit& a, int64_t column) {
  const int64_t step = a.across.step();
  return step + (column < a.window ? column : column - a.window_count * step);
}

int64_t line_of(const IntAudit& a) { return a.across.size * a.channels; }
int64_t regions_of(const IntAudit& a) { return a.plain ? 1 : a.by_line ? a.row_stretches : int64_t{a.row_stretches} * a.column_stretches; }
int64_t region_words(const IntAudit& a) {
  if (a.by_line) return rounded(line_of(a), kBytes);
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
EDGERUN_NOINLINE void audit_channels(const Run& r, const IntAudit& a, vu (&total)[kChains]) {
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

// Sums over `count` rows, apart bytes between them, meet the weights of their positions.
template <bool kSigned, int kVectors>
EDGERUN_SIMD void add_line(const uint8_t* x, int64_t count, int64_t apart, const int32_t* w, vu (&total)[kChains]) {
  for (int64_t done = 0; done < count; done += kMostPlaces, x += kMostPlaces * apart) {
    const int64_t n = least(kMostPlaces, count - done);
    ByteSums<kSigned> some[kVectors];
    const uint8_t* at = x;
    int64_t k = 0;
    for (; k + 2 <= n; k += 2, at += 2 * apart)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) some[v].add(loadu_bytes(at + v * kBytes), loadu_bytes(at + apart + v * kBytes));
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      if (k < n) some[v].add(loadu_bytes(at + v * kBytes));
      vi wide[4];
      some[v].widen(wide);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) total[i] += (vu)wide[i] * (vu)loadu_int(w + (4 * v + i) * kLanes);
    }
  }
}

// Depthwise, pixels of less than a vector: rows are summed as they lie. What is behind a whole number of vectors is counted from the end
// of the row on, and weighs nothing where it has been counted.
template <bool kSigned>
EDGERUN_NOINLINE void audit_lines(const Run& r, const IntAudit& a, vu (&total)[kChains]) {
  const Packed at = packed_at(a, r.packed);
  const uint8_t* x = r.in[0].as<const uint8_t>();
  const int64_t height = a.rows.size, down = a.rows.step(), line = line_of(a);
  const int32_t* w = at.weights;
  for (int32_t s = 0; s < a.row_stretches; ++s, w += region_words(a))
    for (int64_t top = r.begin / height * height; top < r.end; top += height) {
      const int64_t low = most(r.begin - top, 0) - at.rows[s].begin, high = least(r.end - top, height) - at.rows[s].begin;
      const int64_t first = low > 0 ? ceil_div(low, down) : 0, last = least(at.rows[s].count, high > 0 ? ceil_div(high, down) : 0);
      if (first >= last) continue;
      const uint8_t* from = x + (top + at.rows[s].begin + first * down) * line;
      int64_t k = 0;
      for (; k + 4 * kBytes <= line; k += 4 * kBytes) add_line<kSigned, 4>(from + k, last - first, down * line, w + k, total);
      for (; k + kBytes <= line; k += kBytes) add_line<kSigned, 1>(from + k, last - first, down * line, w + k, total);
      if (k < line) add_line<kSigned, 1>(from + line - kBytes, last - first, down * line, w + k, total);
    }
  for (int j = kLanes - 1; j >= a.channels; --j)  // of neighbouring pixels
    for (int i = 0; i < kChains; ++i) total[i][j % a.channels] += total[i][j], total[i][j] = 0;
}

// Rows of pixels, a unit of them at a time: its sums as words, which meet the words of the weights.
template <bool kSigned>
EDGERUN_NOINLINE void audit_words(const Run& r, const IntAudit& a, vu (&total)[kChains]) {
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
  if (a.by_line) return audit_lines<kSigned>(r, a, total);
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
EDGERUN_ISA_END
