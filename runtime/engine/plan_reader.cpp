// Stored plan -> Plan. Nothing in the bytes is trusted: every index, size and name is checked before it is used.
#include <cstring>
#include <new>

#include "crc32.h"
#include "plan.h"
#include "plan_format.h"

namespace edgerun {
namespace {

namespace f = format;
constexpr uint32_t kMaxOperands = 4096;

[[noreturn]] void fail(const std::string& why, int64_t step = -1) { throw PlanError("plan: " + why, step); }

void need(bool ok, const char* what, const char* expected, uint64_t found) {
  if (!ok) fail(std::string(what) + ": expected " + expected + ", found " + std::to_string(found));
}

class Reader {
 public:
  Reader(const char* data, size_t bytes) : data_(data), bytes_(bytes) {
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
  size_t bytes_;
  f::Section sections_[f::kSectionEnd] = {};
  f::Section strings_ = {};
};

Slot read_slot(const Reader& r, const Plan& plan, const f::Slot& s) {
  Slot slot;
  slot.name = r.text(s.name);
  const std::string who = "slot '" + slot.name + "': ";
  if (s.dtype > static_cast<uint8_t>(DType::b8)) fail(who + "unknown dtype " + std::to_string(s.dtype));
  if (s.place > 2) fail(who + "unknown place " + std::to_string(s.place));
  if (s.dims.count > kMaxRank) fail(who + "expected at most 8 dimensions, found " + std::to_string(s.dims.count));
  Reader::within(s.dims, plan.ints.size(), "slot shape");
  slot.view = TensorView{};
  slot.view.dtype = static_cast<DType>(s.dtype);
  slot.view.rank = static_cast<int32_t>(s.dims.count);
  uint64_t elements = 1, extent = size_of(slot.view.dtype);  // extent: as if no dimension were 0
  for (uint32_t k = 0; k < s.dims.count; ++k) {
    const int64_t d = plan.ints[s.dims.at + k];
    if (d < 0) fail(who + "negative dimension " + std::to_string(d));
    if (d > 0 && extent > (uint64_t{1} << 47) / static_cast<uint64_t>(d)) fail(who + "shape is too large");
    extent *= d > 0 ? static_cast<uint64_t>(d) : 1;
    elements *= static_cast<uint64_t>(d);
    slot.view.dims[k] = d;
  }
  const uint64_t bytes = elements * size_of(slot.view.dtype);
  if (bytes > SIZE_MAX / 2) fail(who + "shape is too large for this machine");
  slot.bytes = static_cast<size_t>(bytes);
  slot.place = static_cast<Place>(s.place);
  slot.offset = s.offset;
  return slot;
}

void place_constants(const Reader& r, Plan& plan, const char* data, bool borrow) {
  const f::Section s = r.raw(f::kData);
  const auto table = r.records<f::Constant>(f::kConstants);
  const char* base = data + s.offset;
  if (s.bytes && (!borrow || reinterpret_cast<uintptr_t>(base) % kCacheLine)) {
    plan.constants = Block(static_cast<size_t>(s.bytes));
    std::memcpy(plan.constants.data(), base, static_cast<size_t>(s.bytes));
    base = plan.constants.data();
  }
  for (const f::Constant& c : table) {
    need(c.offset <= s.bytes && c.bytes <= s.bytes - c.offset, "constant offset", "inside the data section", c.offset);
    need(c.offset % kCacheLine == 0, "constant offset", "a multiple of 64", c.offset);
  }
  for (Slot& slot : plan.slots) {
    if (slot.place != Place::constant) continue;
    need(slot.offset < table.size(), ("constant of slot '" + slot.name + "'").c_str(), "an index into the constants", slot.offset);
    const f::Constant& c = table[static_cast<size_t>(slot.offset)];
    need(slot.bytes <= c.bytes, ("size of slot '" + slot.name + "'").c_str(), "at most its constant's", slot.bytes);
    slot.view.data = const_cast<char*>(base + c.offset);
  }
}

void place_slots(Plan& plan) {
  for (uint32_t k = 0; k < plan.inputs.size(); ++k) {
    const Slot& s = plan.slots[plan.inputs[k].slot];
    if (s.place != Place::input || s.offset != k) fail("input '" + plan.inputs[k].name + "' does not refer to a slot of its own");
  }
  for (const Slot& s : plan.slots) {
    if (s.place == Place::arena) {
      need(s.offset % kCacheLine == 0, ("offset of slot '" + s.name + "'").c_str(), "a multiple of 64", s.offset);
      if (s.offset > plan.arena_bytes || s.bytes > plan.arena_bytes - s.offset) fail("slot '" + s.name + "' lies outside the arena");
    } else if (s.place == Place::input) {
      need(s.offset < plan.inputs.size(), ("input of slot '" + s.name + "'").c_str(), "an index into the inputs", s.offset);
      const Slot& source = plan.slots[plan.inputs[static_cast<size_t>(s.offset)].slot];
      need(s.bytes <= source.bytes, ("size of slot '" + s.name + "'").c_str(), "at most its input's", s.bytes);
    }
  }
}

std::vector<int32_t> operands(const Plan& plan, f::Range r, bool output, int64_t step) {
  Reader::within(r, plan.ints.size(), "operand");
  if (r.count > kMaxOperands) fail("too many operands", step);
  std::vector<int32_t> v;
  for (uint32_t k = 0; k < r.count; ++k) {
    const int64_t index = plan.ints[r.at + k];
    if (index < (output ? 0 : -1) || index >= static_cast<int64_t>(plan.slots.size()))
      fail("step " + std::to_string(step) + ": operand " + std::to_string(index) + " is not a slot", step);
    if (output && plan.slots[static_cast<size_t>(index)].place != Place::arena)
      fail("step " + std::to_string(step) + ": writes slot '" + plan.slots[static_cast<size_t>(index)].name + "', which is not in the arena", step);
    v.push_back(static_cast<int32_t>(index));
  }
  return v;
}

// Control steps: where they go, checked so that every run ends.
void read_control(Plan& plan, Step& s, int64_t index) {
  const auto attr = [&](const char* name) -> int64_t {
    const Attr* a = Attrs{s.attrs.data(), static_cast<int32_t>(s.attrs.size())}.find(name);
    if (!a || !a->ints || a->count != 1) fail("step " + std::to_string(index) + ": " + s.kernel_name + " needs one integer '" + name + "'", index);
    return a->ints[0];
  };
  if (s.op == Op::exit) {
    const int64_t e = attr("index");
    if (e < 0 || e >= static_cast<int64_t>(plan.exits.size())) fail("step " + std::to_string(index) + ": no exit " + std::to_string(e), index);
    s.target = static_cast<uint32_t>(e);
    return;
  }
  const int64_t t = attr("target");
  if (t <= index || t > static_cast<int64_t>(plan.steps.size()))
    fail("step " + std::to_string(index) + ": expected a target after it, found " + std::to_string(t), index);
  s.target = static_cast<uint32_t>(t);
  if (s.op == Op::jump) return;
  if (s.in.size() != 1 || s.in[0] < 0) fail("step " + std::to_string(index) + ": branch takes one operand", index);
  const Slot& c = plan.slots[static_cast<size_t>(s.in[0])];
  if (c.view.dtype != DType::b8 || c.view.elements() != 1) fail("step " + std::to_string(index) + ": branch takes a boolean scalar", index);
}

void read_steps(const Reader& r, Plan& plan) {
  const auto attrs = r.records<f::Attr>(f::kAttrs);
  const auto checks = r.records<f::Check>(f::kChecks);
  plan.attr_names.reserve(attrs.size());  // names are referenced by pointer
  std::vector<Attr> views;
  for (const f::Attr& a : attrs) {
    plan.attr_names.push_back(r.text(a.name));
    Reader::within(a.values, a.is_float ? plan.floats.size() : plan.ints.size(), "attribute");
    views.push_back({plan.attr_names.back().c_str(), a.is_float ? nullptr : plan.ints.data() + a.values.at,
                     a.is_float ? plan.floats.data() + a.values.at : nullptr, static_cast<int32_t>(a.values.count)});
  }
  const auto records = r.records<f::Step>(f::kSteps);
  plan.steps.resize(records.size());
  for (size_t k = 0; k < records.size(); ++k) {
    const f::Step& s = records[k];
    const auto index = static_cast<int64_t>(k);
    Step& step = plan.steps[k];
    step.kernel_name = r.text(s.kernel);
    step.node = r.text(s.node);
    step.op_name = r.text(s.op);
    step.in = operands(plan, s.inputs, false, index);
    step.out = operands(plan, s.outputs, true, index);
    Reader::within(s.attrs, views.size(), "attributes");
    Reader::within(s.checks, checks.size(), "checks");
    step.attrs.assign(views.begin() + s.attrs.at, views.begin() + s.attrs.at + s.attrs.count);
    step.checked = s.checks.count > 0;
    step.op = step.kernel_name == "branch" ? Op::branch : step.kernel_name == "jump" ? Op::jump
              : step.kernel_name == "exit" ? Op::exit : Op::kernel;
    if (step.op != Op::kernel) read_control(plan, step, index);
    else if (step.out.size() == 1 && step.out[0] == plan.difficulty_slot) step.op = Op::difficulty;
  }
}

std::vector<Port> read_ports(const Reader& r, const Plan& plan, f::SectionId id) {
  std::vector<Port> ports;
  for (const f::Port& p : r.records<f::Port>(id)) {
    need(p.slot < plan.slots.size(), "port", "a slot", p.slot);
    ports.push_back({r.text(p.name), p.slot});
  }
  return ports;
}

void read_exits(const Reader& r, Plan& plan) {
  for (const f::Exit& e : r.records<f::Exit>(f::kExits)) {
    need(e.slot < plan.slots.size(), "exit", "a slot", e.slot);
    const Slot& s = plan.slots[e.slot];
    if (s.view.dtype != DType::f32 || s.view.elements() < 1) fail("exit '" + s.name + "': expected f32 scores of at least one class");
    plan.exits.push_back({r.text(e.name), e.slot, e.step, e.logits != 0, e.macs});
  }
  const auto doubles = r.records<double>(f::kDoubles);
  const auto take = [&](f::Range range) {
    Reader::within(range, doubles.size(), "policy values");
    return std::vector<double>(doubles.begin() + range.at, doubles.begin() + range.at + range.count);
  };
  for (const f::Policy& p : r.records<f::Policy>(f::kPolicy)) {
    need(p.kind <= 5, "policy kind", "0 to 5", p.kind);
    Policy& q = plan.policy;
    q.kind = static_cast<PolicyKind>(p.kind);
    q.patience = p.patience;
    q.beta = p.beta;
    q.mix = p.mix;
    q.temperature = take(p.temperature);
    q.budget_ns = p.budget_ns;
    q.thresholds = take(p.thresholds);
    q.bin_edges = take(p.bin_edges);
    q.segment_ns = take(p.segment_ns);
    q.table = take(p.table);
    q.coeff = take(p.coeff);
    q.table_rows = p.table_rows;
    q.coeff_rows = p.coeff_rows;
  }
  for (const f::Difficulty& d : r.records<f::Difficulty>(f::kDifficulty)) {
    need(d.slot < plan.slots.size(), "difficulty", "a slot", d.slot);
    const Slot& s = plan.slots[d.slot];
    if (s.view.dtype != DType::f32 || s.view.elements() != 4) fail("difficulty: expected a slot of 4 f32, found slot '" + s.name + "'");
    plan.difficulty_slot = static_cast<int32_t>(d.slot);
  }
  std::vector<int64_t> classes;
  for (const Exit& e : plan.exits) classes.push_back(plan.slots[e.slot].view.elements());
  const std::string defect = policy_defect(plan.policy, classes, plan.difficulty_slot >= 0);
  if (!defect.empty()) fail(defect);
}

}  // namespace

std::unique_ptr<Plan> read_plan(const void* data, size_t bytes, bool borrow) {
  const char* p = static_cast<const char*>(data);
  const Reader r(p, bytes);
  auto plan = std::make_unique<Plan>();
  plan->arena_bytes = r.header.arena_bytes;
  if (plan->arena_bytes > SIZE_MAX / 4) fail("arena is too large for this machine");
  plan->ints = r.records<int64_t>(f::kInts);
  plan->floats = r.records<float>(f::kFloats);
  for (const f::Slot& s : r.records<f::Slot>(f::kSlots)) plan->slots.push_back(read_slot(r, *plan, s));
  plan->inputs = read_ports(r, *plan, f::kInputs);
  plan->outputs = read_ports(r, *plan, f::kOutputs);
  place_slots(*plan);
  place_constants(r, *plan, p, borrow);
  read_exits(r, *plan);
  read_steps(r, *plan);
  return plan;
}

}  // namespace edgerun
