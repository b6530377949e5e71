#include "quant/audit_i8.h"

EDGERUN_ISA_BEGIN
namespace {

inline constexpr int64_t kMostTaps = 256;         // of one axis, times the period of its weights
inline constexpr int64_t kMostWindowStep = 64, kMostOutside = 128;
inline constexpr int64_t kShortLine = 12;         // columns that cost less to weigh one by one than as stretches, whatever the channels
inline constexpr int64_t kLargestSums = int64_t{1} << 28;  // elements

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

uint32_t weight_at(const TensorView& w, int64_t k) {
  return static_cast<uint32_t>(w.dtype == DType::i8 ? w.as<const int8_t>()[k] : w.as<const int16_t>()[k]);
}

}  // namespace

void int_audit_resolve(size_t packed, IntAudit* a) {
  a->at = (packed + kCacheLine - 1) / kCacheLine * kCacheLine;
  a->row_stretches = a->column_stretches = 0;
  a->window = a->window_count = 0;
  a->sums = 1;
  a->by_line = false;
  a->words = a->words && a->batch * a->pixels <= kPixelsPerUnit;
  if (!a->on || a->plain) return;
  const TapLine* lines[2] = {&a->rows, &a->across};
  for (const TapLine* line : lines)
    if (line->kernel * line->period() > kMostTaps || line->size > INT32_MAX / 2) a->on = false;
  if (!a->on) return;
  Stretch columns[2 * kMostTaps];
  a->row_stretches = find_stretches(a->rows, nullptr);
  a->column_stretches = find_stretches(a->across, columns);
  find_window(a, columns, a->column_stretches);
  a->by_line = a->by_channel && (a->channels < kBytes || a->across.size <= kShortLine) &&
               (a->channels % kLanes == 0 || kLanes % a->channels == 0) && line_of(*a) >= kBytes;
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
        for (int64_t at_x = 0; a.by_line && down != 0 && at_x < a.across.size; ++at_x) {
          const int64_t k = at_x * a.channels + c, whole = line_of(a) / kBytes * kBytes;
          const auto weight = static_cast<uint32_t>(down * weight_of(a.across, t % taps_wide, at_x));
          out[r * words + (k < whole ? k : k + words - line_of(a))] += weight * sum[first % kLanes];
        }
        if (a.by_line) continue;
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
        a.plain ? a.pixels : a.by_line ? rows[i].count : int64_t{rows[i / a.column_stretches].count} * columns[i % a.column_stretches].count);
    const int64_t lanes = a.by_line ? least(kLanes, a.channels) : kLanes;
    for (int64_t k = 0; k < words && !a.words; ++k) constant[k % lanes] -= members * zero * out[i * words + k];
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
