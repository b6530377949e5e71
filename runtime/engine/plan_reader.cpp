// Stored plan -> Plan. Nothing in the bytes is trusted: every index, size and name is checked before it is used.
#include <algorithm>
#include <cstring>

#include "plan_bytes.h"

namespace edgerun {
namespace {

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
  } else {
    plan.writable = false;
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
  uint64_t reach = 0;
  for (const Slot& s : plan.slots) {
    if (s.place == Place::arena) {
      need(s.offset % kCacheLine == 0, ("offset of slot '" + s.name + "'").c_str(), "a multiple of 64", s.offset);
      if (s.offset > plan.arena_bytes || s.bytes > plan.arena_bytes - s.offset) fail("slot '" + s.name + "' lies outside the arena");
      reach = std::max(reach, s.offset + s.bytes);
    } else if (s.place == Place::input) {
      need(s.offset < plan.inputs.size(), ("input of slot '" + s.name + "'").c_str(), "an index into the inputs", s.offset);
      const Slot& source = plan.slots[plan.inputs[static_cast<size_t>(s.offset)].slot];
      need(s.bytes <= source.bytes, ("size of slot '" + s.name + "'").c_str(), "at most its input's", s.bytes);
    }
  }
  plan.arena_bytes = std::min(plan.arena_bytes, reach);  // never more than the slots need, whatever the header claims
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
