// Writes plans for the C++ tests: the same container as planner/serialize.py, from a few calls.
#pragma once
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "crc32.h"
#include "plan_format.h"

namespace edgerun::test {

namespace f = format;
using Bytes = std::vector<char>;

inline void seal(Bytes& plan) {  // makes the checksum right again
  const uint32_t zero = 0, at = offsetof(f::Header, crc);
  uint32_t crc = crc32(plan.data(), at);
  crc = crc32(&zero, 4, crc);
  crc = crc32(plan.data() + sizeof(f::Header), plan.size() - sizeof(f::Header), crc);
  std::memcpy(plan.data() + at, &crc, 4);
}

class PlanBuilder {
 public:
  enum Place : uint8_t { input, constant, arena };

  uint32_t slot(const std::string& name, uint8_t dtype, std::initializer_list<int64_t> dims, Place place, uint64_t offset) {
    f::Slot s{};
    s.name = text(name);
    s.dims = int_list(dims);
    s.dtype = dtype;
    s.place = place;
    s.offset = offset;
    slots_.push_back(s);
    return static_cast<uint32_t>(slots_.size() - 1);
  }

  uint32_t constant_of(const void* data, size_t bytes) {  // index into the constants
    constants_.push_back({data_.size(), bytes});
    const char* p = static_cast<const char*>(data);
    data_.insert(data_.end(), p, p + bytes);
    data_.resize((data_.size() + 63) / 64 * 64);
    return static_cast<uint32_t>(constants_.size() - 1);
  }

  struct IntAttr {
    std::string name;
    std::vector<int64_t> values;
  };

  uint32_t step(const std::string& kernel, std::vector<int64_t> in, std::vector<int64_t> out,
                const std::vector<IntAttr>& attrs = {}, bool checked = false) {
    f::Step s{};
    s.kernel = text(kernel);
    s.node = text("node_" + std::to_string(steps_.size()));
    s.op = text("Op");
    s.inputs = int_list(in);
    s.outputs = int_list(out);
    s.attrs = {static_cast<uint32_t>(attrs_.size()), static_cast<uint32_t>(attrs.size())};
    for (const IntAttr& a : attrs) attrs_.push_back({text(a.name), int_list(a.values), 0, 0});
    s.checks = {static_cast<uint32_t>(checks_.size()), checked ? 1u : 0u};
    if (checked) checks_.push_back({text("maed"), 0.f, 0});
    steps_.push_back(s);
    return static_cast<uint32_t>(steps_.size() - 1);
  }

  // One more check on the last step; its first one came with it, or this is it.
  void check(const std::string& kind, float bound = 0) {
    f::Step& s = steps_.back();
    if (s.checks.count == 0) s.checks.at = static_cast<uint32_t>(checks_.size());
    ++s.checks.count;
    checks_.push_back({text(kind), bound, 0});
  }

  void in(uint32_t slot) { inputs_.push_back({text("in"), text("[]"), slot, 0}); }
  void out(uint32_t slot) { outputs_.push_back({text("out"), text("[]"), slot, 0}); }
  void exit(uint32_t slot, bool logits, uint32_t step) { exits_.push_back({text("exit"), slot, logits, step, 0, 0}); }
  void difficulty(uint32_t slot) { difficulty_.push_back({slot, 0, {}, {}, {}, 0}); }
  void policy(uint32_t kind, const std::vector<double>& thresholds) {
    f::Policy p{};
    p.kind = kind;
    p.patience = 1;
    p.thresholds = {static_cast<uint32_t>(doubles_.size()), static_cast<uint32_t>(thresholds.size())};
    doubles_.insert(doubles_.end(), thresholds.begin(), thresholds.end());
    policy_.assign(1, p);
  }

  uint64_t arena_bytes = 0;

  Bytes bytes() const {
    Bytes plan(sizeof(f::Header) + 17 * sizeof(f::Section));
    std::vector<f::Section> table;
    const auto add = [&](uint32_t id, const void* data, size_t record, size_t count, size_t align) {
      plan.resize((plan.size() + align - 1) / align * align);
      table.push_back({id, static_cast<uint32_t>(id == f::kData ? 0 : count), plan.size(), record * count});
      const char* p = static_cast<const char*>(data);
      if (count) plan.insert(plan.end(), p, p + record * count);
    };
    const auto list = [&](uint32_t id, const auto& v) { add(id, v.data(), sizeof(v[0]), v.size(), 8); };
    list(f::kStrings, strings_);
    list(f::kInts, ints_);
    list(f::kFloats, std::vector<float>{});
    list(f::kDoubles, doubles_);
    list(f::kSlots, slots_);
    list(f::kSteps, steps_);
    list(f::kAttrs, attrs_);
    list(f::kChecks, checks_);
    list(f::kConstants, constants_);
    list(f::kInputs, inputs_);
    list(f::kOutputs, outputs_);
    list(f::kExits, exits_);
    list(f::kPolicy, policy_);
    list(f::kDifficulty, difficulty_);
    list(f::kMetadata, std::vector<f::Pair>{});
    list(f::kFallbacks, std::vector<f::Fallback>{});
    add(f::kData, data_.data(), 1, data_.size(), 64);
    f::Header h{};
    std::memcpy(h.magic, f::kMagic, 8);
    h.version = f::kVersion;
    h.header_bytes = sizeof h;
    h.total_bytes = plan.size();
    h.arena_bytes = arena_bytes;
    h.section_count = static_cast<uint32_t>(table.size());
    std::memcpy(plan.data(), &h, sizeof h);
    std::memcpy(plan.data() + sizeof h, table.data(), table.size() * sizeof(f::Section));
    seal(plan);
    return plan;
  }

 private:
  f::Range text(const std::string& s) {
    strings_ += s;
    return {static_cast<uint32_t>(strings_.size() - s.size()), static_cast<uint32_t>(s.size())};
  }
  f::Range int_list(std::vector<int64_t> v) {
    ints_.insert(ints_.end(), v.begin(), v.end());
    return {static_cast<uint32_t>(ints_.size() - v.size()), static_cast<uint32_t>(v.size())};
  }

  std::string strings_;
  std::vector<int64_t> ints_;
  std::vector<double> doubles_;
  std::vector<f::Slot> slots_;
  std::vector<f::Step> steps_;
  std::vector<f::Attr> attrs_;
  std::vector<f::Check> checks_;
  std::vector<f::Constant> constants_;
  std::vector<f::Port> inputs_, outputs_;
  std::vector<f::Exit> exits_;
  std::vector<f::Policy> policy_;
  std::vector<f::Difficulty> difficulty_;
  Bytes data_;
};

// x[n] -> relu -> relu -> ... (`steps` of them, checked), ping-pong in the arena.
inline PlanBuilder relu_chain(int64_t n, int steps) {
  PlanBuilder b;
  const uint64_t room = (static_cast<uint64_t>(n) * 4 + 63) / 64 * 64;
  b.arena_bytes = 2 * room;
  uint32_t last = b.slot("x", 0, {1, n}, PlanBuilder::input, 0);
  b.in(last);
  for (int k = 0; k < steps; ++k) {
    const uint32_t next = b.slot("y", 0, {1, n}, PlanBuilder::arena, room * static_cast<uint64_t>(k % 2));
    b.step("relu_f32", {last}, {next}, {}, true);
    last = next;
  }
  b.out(last);
  return b;
}

}  // namespace edgerun::test
