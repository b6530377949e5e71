// The bytes of a stored plan behind bounds checks; only the plan reader includes this.
#pragma once
#include <cstring>

#include "crc32.h"
#include "plan.h"
#include "plan_format.h"

namespace edgerun {

namespace f = format;

[[noreturn]] inline void fail(const std::string& why, int64_t step = -1) { throw PlanError("plan: " + why, step); }

inline void need(bool ok, const char* what, const char* expected, uint64_t found) {
  if (!ok) fail(std::string(what) + ": expected " + expected + ", found " + std::to_string(found));
}

class Reader {
 public:
  Reader(const char* data, size_t bytes) : data_(data) {
    need(bytes >= sizeof header, "size", "at least 64 bytes", bytes);
    std::memcpy(&header, data, sizeof header);
    if (std::memcmp(header.magic, f::kMagic, sizeof f::kMagic)) fail("not an edgerun plan (magic bytes differ)");
    need(header.version == f::kVersion, "version", "1", header.version);
    need(header.header_bytes == sizeof header, "header size", "64", header.header_bytes);
    need(header.total_bytes == bytes, "total size", std::to_string(bytes).c_str(), header.total_bytes);
    need(header.section_count < 64 && sizeof header + header.section_count * sizeof(f::Section) <= bytes, "section count",
         "a table inside the plan", header.section_count);
    const uint32_t zero = 0;
    uint32_t crc = crc32(data, sizeof header - 4);
    crc = crc32(&zero, 4, crc);
    crc = crc32(data + sizeof header, bytes - sizeof header, crc);
    if (crc != header.crc) fail("checksum mismatch: the plan is damaged");
    for (uint32_t k = 0; k < header.section_count; ++k) {
      f::Section s;
      std::memcpy(&s, data + sizeof header + k * sizeof s, sizeof s);
      need(s.id >= 1 && s.id < f::kSectionEnd, "section id", "1 to 17", s.id);
      need(s.offset <= bytes && s.bytes <= bytes - s.offset, "section offset", "inside the plan", s.offset);
      if (sections_[s.id].id) fail("section " + std::to_string(s.id) + " appears twice");
      sections_[s.id] = s;
    }
    strings_ = raw(f::kStrings);
  }

  template <class T> std::vector<T> records(f::SectionId id) const {
    const f::Section& s = sections_[id];
    need(s.count == s.bytes / sizeof(T) && s.bytes % sizeof(T) == 0, "section size", "count times record size", s.bytes);
    std::vector<T> v(s.count);
    if (s.count) std::memcpy(v.data(), data_ + s.offset, s.bytes);
    return v;
  }

  f::Section raw(f::SectionId id) const { return sections_[id]; }

  std::string text(f::Range r) const {
    within(r, strings_.bytes, "string");
    return std::string(data_ + strings_.offset + r.at, r.count);
  }

  static void within(f::Range r, uint64_t size, const char* what) {
    if (r.at > size || r.count > size - r.at) fail(std::string(what) + " range is outside its section");
  }

  f::Header header;

 private:
  const char* data_;
  f::Section sections_[f::kSectionEnd] = {};
  f::Section strings_ = {};
};

// Fills plan.steps; slots, exits and the difficulty slot must be there already (plan_steps.cpp).
void read_steps(const Reader&, Plan&);

}  // namespace edgerun
