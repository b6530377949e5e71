// A loaded plan: validated, kernels resolved, constants packed. Immutable after load; shared by any number of sessions.
#pragma once
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "guard_weights.h"
#include "kernel.h"
#include "policy.h"

namespace edgerun {

// Why a plan cannot be used. `step` is -1 when no single step is to blame.
struct PlanError : std::runtime_error {
  explicit PlanError(const std::string& what, int64_t at = -1) : std::runtime_error(what), step(at) {}
  int64_t step;
};

struct Free {
  void operator()(void* p) const { std::free(p); }
};

// Zeroed memory aligned to a cache line; pages that are never touched cost nothing.
class Block {
 public:
  Block() = default;
  explicit Block(size_t bytes);
  char* data() const { return data_; }

 private:
  std::unique_ptr<void, Free> owner_;
  char* data_ = nullptr;
};

enum class Place : uint8_t { input = 0, constant = 1, arena = 2 };
enum class Op : uint8_t { kernel, difficulty, branch, jump, exit };  // difficulty: a kernel whose result decisions use

// Kinds of checks (plan.Check.kind, docs/checks.md). maed: what the kernel verifies of its own results. abft: the checksum of its
// products. The others are the engine's: guard_*.h, session_guards.cpp.
enum Guard : uint32_t { kMaed = 1u, kAbft = 2u, kGuardWeights = 4u, kGuardBuffers = 8u, kGuardFlow = 16u, kGuardDuplicate = 32u,
                        kGuardRange = 64u };

struct Slot {
  std::string name;
  TensorView view;  // data: constants only
  Place place;
  uint64_t offset;
  size_t bytes;
};

struct Step {
  std::string kernel_name, node, op_name;
  std::vector<int32_t> in, out;  // slot index, or -1 for an absent operand
  std::vector<Attr> attrs;
  Op op = Op::kernel;
  uint32_t guards = 0;        // Guard bits: the kinds of its checks
  uint32_t target = 0;        // branch, jump: next step; exit: index of the exit
  const Kernel* kernel = nullptr;
  Need need;
  size_t params_at = 0, packed_at = 0;
};

struct Port {
  std::string name;
  uint32_t slot;
};

struct Exit {
  std::string name;
  uint32_t slot, step;
  bool logits;
  uint64_t macs;
};

struct Plan {
  std::vector<Slot> slots;
  std::vector<Step> steps;
  std::vector<Port> inputs, outputs;
  std::vector<int64_t> ready_step;  // per output: the last step that writes it, -1 when nothing does
  std::vector<Exit> exits;
  Policy policy;
  int32_t difficulty_slot = -1;
  uint64_t arena_bytes = 0;
  const char* isa = "";

  Block constants;  // only when the caller's buffer could not be referenced
  bool writable = true;  // constants may be written to (fault injection); not in a caller's read-only buffer
  Block prepared;   // parameters and packed constants of every step
  size_t prepared_bytes = 0;
  std::vector<SumBlock> sums;  // of prepared and constants, where a step has the check weights
  std::unique_ptr<GuideSum[]> guides;  // likewise, one a step: what guides its kernel, verified before it runs
  double scrub_share = 0;      // how much of a run's time verifying them may take (Check.bound)
  std::vector<int64_t> ints;
  std::vector<float> floats;
  std::vector<std::string> attr_names;
};

// Reads and validates; `data` must outlive the plan when `borrow` is set (it is copied if it is not 64-byte aligned).
// Throws PlanError or std::bad_alloc.
std::unique_ptr<Plan> read_plan(const void* data, size_t bytes, bool borrow);
// Resolves kernels, sizes them and packs constants. Throws PlanError or std::bad_alloc.
void prepare_plan(Plan&);
// What prepare fills of one step, into memory of the caller (params: Need::params bytes, packed: Need::packed bytes, zeroed).
void prepare_step(const Plan&, size_t step, void* params, void* packed);
const char* reason(Status);
inline bool is_kernel(Op op) { return op == Op::kernel || op == Op::difficulty; }

}  // namespace edgerun
