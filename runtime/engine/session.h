// A plan being run: arena, scratch, resolved steps. One run at a time; no allocation and no strings while it runs.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "fault.h"
#include "guard_buffers.h"
#include "guard_flow.h"
#include "integrity/word_sum.h"
#include "plan.h"
#include "thread_pool.h"

namespace edgerun {

// What is done about a violated check (session_react.cpp). All but flag: the step is computed again, its weights are made again,
// the run is done again; where that does not help retry reports, abort ends the run with RunError.fault, exit_early gives the
// answer of the last exit that was reached in order (without one it aborts), and restrict cuts values off (session_restrict.cpp).
enum class Reaction : uint8_t { flag = 0, retry, abort, exit_early, restrict };

struct SessionOptions {
  int32_t threads = 0;    // 0: physical cores
  bool checks = true;
  int32_t spin_us = 30;   // how long workers spin after a run before they sleep
  int64_t timeout_ns = 0; // a run that takes longer ends with RunError.late; 0: no limit
  int64_t scrub_bytes = 0; // of weights verified in every run; 0: as many as fit into the plan's share of its time
  Reaction reaction = Reaction::flag;
};

// Flags of what is seen in what a step computed, and so can be gone when it is computed again.
inline constexpr uint32_t kOfTheStep = kIdentity | kNonFinite | kRange | kRequantised | kChecksum | kDuplicate;

// What became of a finding. corrected, restored and rerun: the answer does not depend on what was wrong.
enum class Action : uint8_t {
  reported = 0,
  corrected,  // computed again, it holds
  restored,   // with parameters and weights prepared again, it holds
  rerun,      // the run was begun again; what was still wrong then is a finding of its own
  degraded,   // the answer is that of an exit before it
  aborted,
  restricted, // what stayed wrong was cut off at the range it was seen in
};

struct EngineFinding {
  int32_t step;
  uint32_t flags;  // CheckFlag bits
  int64_t index;
  float expected, got, bound;
  Action action = Action::reported;
  bool permanent = false;  // violated again when it was computed again: it sits in memory or in the machine
};

struct RunInfo {
  int32_t exit_index = -1, exits_reached = 0;
  int64_t steps_run = 0, elapsed_ns = 0;
  uint64_t values_checked = 0, findings = 0, findings_dropped = 0;
  int32_t reruns = 0;
  float difficulty[4] = {0, 0, 0, 0};
  bool has_difficulty = false;
};

// A run that could not be completed. Data, not an exception: nothing is thrown while a plan runs.
struct RunError {
  int32_t step = -1;  // -1: no error
  int64_t position = 0, value = 0, extent = 0;
  bool late = false;  // the time was over after (or within) this step; otherwise a bad index
  bool fault = false; // a finding at this step that nothing helped against
};

class Session {
 public:
  static constexpr size_t kMaxFindings = 256;

  Session(std::shared_ptr<const Plan> plan, const SessionOptions& options);
  ~Session() { heal(); }

  // inputs[k]: as many bytes as the slot of Plan.inputs[k]; outputs[k]: null, or room for the slot of Plan.outputs[k].
  RunError run(const void* const* inputs, void* const* outputs);
  // Same, to the end whatever the policy says; adds each step's nanoseconds to ns[step].
  RunError profile(const void* const* inputs, void* const* outputs, int64_t* ns);
  // Measures each step on one thread and on several and keeps what is faster.
  RunError tune(const void* const* inputs, int32_t rounds);
  // A fault for the runs to come (session_fault.cpp); replaces the one before, except that what was struck in memory stays so
  // until heal(). Memory belongs to the plan: no other session of it may be running. Returns what is wrong with the fault.
  std::string arm(const FaultSpec& fault);
  // Disarms, and gives memory that was struck its bytes back.
  void heal();
  SiteSizes sites(size_t step) const;
  // The next run keeps the bytes of the outputs of `step`, one after another, as it was computed (before a fault in the buffer).
  std::string capture(int64_t step);
  const std::vector<char>& captured() const { return captured_; }
  // Verifies all weights, constants and tables now (check weights). The findings are those of this call.
  const std::vector<EngineFinding>& scrub();
  // Runs after which all of them were verified once, at the rate of the latest run; 0: never, nothing is verified.
  int64_t scrub_runs() const;
  // Replaces the policy; returns what does not fit (then nothing changes).
  std::string set_policy(Policy policy);

  const Plan& plan() const { return *plan_; }
  const Policy& policy() const { return policy_; }
  const RunInfo& info() const { return info_; }
  const std::vector<EngineFinding>& findings() const { return findings_; }
  const std::vector<double>& scores() const { return scores_; }
  const std::vector<int32_t>& classes() const { return classes_; }
  bool output_ready(size_t k) const { return plan_->ready_step[k] < stopped_at_; }
  int32_t threads() const { return threads_; }
  int32_t step_threads(size_t step) const { return steps_[step].threads; }
  // Bytes that this session and its plan hold beyond the plan's constants.
  size_t memory() const;
  std::mutex& mutex() { return mutex_; }  // held by callers around run and the queries that follow it

 private:
  struct LiveStep {
    void (*run)(const Run&);
    Run call;             // for one thread; parallel chunks copy it
    int32_t threads = 1;  // decided ahead of time
    int32_t chunks = 1;
    int32_t slices = 1;   // pieces in which one thread runs it where there is a time limit
    int32_t pieces = 1;   // likewise where its checksum would else read the operand from memory once more
    Op op = Op::kernel;
    bool checked = false;
    bool repeatable = false;  // no result lies over an operand
    void (*audit)(const Run&) = nullptr;  // with the check abft: audit_units units beside those of run
    int64_t audit_units = 0;
    int32_t audit_sums = 0;
    double audit_bound = 0, audit_floor = 0;
    bool guided = false;                  // with the check weights: parameters and tables are verified before it runs
    // With the check range: the operand of a product is at most range_by[ranges] + sum over i of range_by[i] * (magnitude of the
    // product of step range_of[i]). null: no bound is known.
    const int64_t* range_of = nullptr;
    const float* range_by = nullptr;
    int32_t ranges = 0;
    double range_elements = 0;
    const float* restrict_to = nullptr;   // least and greatest value that the first output was seen to have, or null
    uint32_t target = 0;
    bool indexed = false;
    const uint8_t* condition = nullptr;  // branch
    uint64_t number = 0;                 // Flow::number
    const TensorView* shadow = nullptr;  // with the check duplicate: where the outputs are computed once more
  };
  struct Job {
    const Session* session;
    const LiveStep* step;
    bool sink;
  };
  struct SumItem {
    const char* data;
    size_t bytes;
    uint64_t* sums;
  };
  struct SumJob {
    WordSum sum;
    const SumItem* items;
    size_t count;
    int32_t chunks;
  };
  struct alignas(kCacheLine) Done {
    int64_t units = 0;
  };
  struct Patch {  // a view or branch condition that points into a caller's buffer
    TensorView* view;
    const uint8_t** condition;
    uint64_t input;
  };
  struct Target {  // of a fault: the first byte, what of the mask fits, which operand
    char* at;
    uint64_t mask;
    int32_t operand;
  };

  struct Trusted {  // the last exit reached without an open finding
    int32_t exit = -1;
    int64_t step = 0;
    size_t reached = 0;
  };

  void build();
  static void use_range(const Step& s, LiveStep* live);
  void use_threads(LiveStep& live, int32_t threads, int64_t cost_ns) const;
  void place_inputs(const void* const* inputs);
  template <bool kProfile> RunError execute(const void* const* inputs, void* const* outputs, int64_t* ns);
  template <bool kProfile, bool kArmed> RunError loop(int64_t begin, int64_t* ns);
  void compute(const LiveStep& step, size_t index, bool armed);
  // Reaction (session_react.cpp)
  void begin_reaction(bool off);
  void begin_pass(int32_t pass);
  bool mend(RunError* error);
  bool open_findings() const { return __builtin_expect(info_.findings > settled_, 0); }
  bool react(size_t at, bool armed, RunError* error);
  bool clean_again(size_t at, bool armed);
  bool escalate(size_t at, bool permanent, RunError* error);
  Repair restore(size_t at);
  void settle(Action action, bool permanent);
  bool regain(size_t at);
  bool restrict_values(size_t at);
  static bool cut_off(const TensorView& view, const float* range);
  // Fault injection (session_fault.cpp)
  bool divert(size_t* at, size_t* next);
  void compute_armed(size_t at);
  void strike_memory();
  void strike_operand(size_t index);
  void strike_sums(size_t index);
  int64_t crc_bytes(size_t index) const;
  Target crc_target() const;
  Target target(const std::vector<int32_t>& slots, const TensorView* views, bool constants) const;
  void aim(size_t at);
  void after_armed_run();
  void judge(const LiveStep& step, size_t index, int32_t threads);
  void accuse(const LiveStep& step, const Checksum& all, double bound);
  bool within_range(const LiveStep& step, const Checksum& all);
  void run_part(const LiveStep& step, Run call, int64_t part, int64_t parts, Done* done);
  int64_t run_step(const LiveStep& step, bool sink, int32_t threads);
  void add_finding(const EngineFinding& f);
  // Guards (session_guards.cpp, session_scrub.cpp)
  void build_guards();
  void begin_guards();
  void note_operands(size_t index);
  void settle_buffers(size_t index);
  void verify_read();
  void verify(Buffers::Range& range, const char* data);
  void hold_against(Buffers::Range& range, const uint64_t* sums);
  const char* lies(const Buffers::Range&) const;
  void sum(const SumItem* items, size_t count);
  static void sum_chunk(const void* job, int32_t chunk, int32_t thread);
  static void sum_segments(WordSum sum, const SumItem& item, size_t begin, size_t end);
  void deliver(size_t output, void* to);
  void shadow(const LiveStep& step, int32_t threads);
  void compare(const LiveStep& step, size_t index);
  size_t next_of_branch(size_t at) const;
  void check_flow(size_t at, size_t end);
  void start_scrub();
  void keep_threads();
  void scrub_some();
  size_t scrub_items() const;
  size_t item_bytes(size_t item) const;
  double scrub_bytes_a_run() const;
  void verify_item(size_t item);
  bool table_holds(size_t k) const;
  bool late() const;
  static void chunk(const void* job, int32_t chunk, int32_t thread);
  void record(size_t step, int32_t threads);
  static void locate(const LiveStep& step, EngineFinding* f);
  RunError index_error(size_t step);
  bool at_exit(uint32_t exit, int64_t elapsed_ns);
  const char* resolve(const Slot&) const;

  std::shared_ptr<const Plan> plan_;
  Policy policy_;
  int32_t threads_;
  int32_t spin_us_;
  int64_t timeout_ns_, deadline_ = 0;  // 0: none
  bool checks_, any_parallel_ = false;
  std::shared_ptr<ThreadPool> pool_;
  ThreadPool* team_ = nullptr;  // the pool while this run leads it
  Block arena_, scratch_;
  size_t scratch_stride_ = 0;
  std::vector<TensorView> views_;
  std::vector<LiveStep> steps_;
  std::vector<Patch> patches_;
  std::vector<const void*> inputs_;
  std::vector<CheckSink> sinks_;
  std::vector<Checksum> checksums_;  // one a thread, as sinks_
  std::vector<double> magnitudes_;   // of each audited step of this run
  std::vector<BadIndex> bad_indices_;
  std::vector<std::vector<int64_t>> fastest_;  // by number of threads tried (1, 2, 4 ...) and step: nanoseconds seen while tuning
  std::vector<EngineFinding> findings_;
  std::vector<double> scores_;
  std::vector<int32_t> classes_;
  RunInfo info_;
  // Guards: each is off where the plan does not ask for it.
  bool flow_on_ = false, weights_on_ = false;
  Flow flow_;
  Buffers buffers_;
  std::vector<SumItem> sum_items_;      // of the step at hand
  WordSum word_sum_ = nullptr;
  std::vector<Done> done_;  // one a thread, as sinks_
  Block shadow_;
  size_t shadow_bytes_ = 0;
  std::vector<TensorView> shadow_views_;
  std::vector<LiveStep> kept_steps_;    // copies of the tables, from which a damaged one is mended
  std::vector<TensorView> kept_views_;
  std::vector<uint32_t> table_sums_;    // of each step and its views
  std::vector<size_t> views_at_;        // first view of each step; one more entry for the end
  int64_t scrub_bytes_ = 0, last_ns_ = 0;
  size_t scrub_next_ = 0, scrub_total_ = 0;
  double scrub_rate_ = 0, scrub_credit_ = 0;  // bytes a nanosecond; bytes
  // Fault injection: armed_ is all that a run looks at.
  bool armed_ = false;
  FaultSpec spec_;
  int32_t fault_runs_ = 0;
  int32_t fault_phase_ = 0;           // of this pass: what changes the order happens once
  bool fault_spent_ = false;          // struck, and not to strike again in this run
  Fault fault_{};                     // as kernels get it
  std::vector<Struck> struck_;
  std::vector<char> struck_input_, original_, captured_;
  int64_t capture_step_ = -1;
  int64_t stopped_at_ = 0;
  Reaction reaction_ = Reaction::flag;
  uint64_t settled_ = 0;     // findings that were dealt with; the greatest number where none is
  bool again_ = false;       // this pass over the steps is given up for another one
  int64_t failed_at_ = -1;   // the step at which the first pass was
  int64_t known_ = -1, uncured_ = -1;  // the step at which nothing helped in the run before, in this one
  Trusted trusted_;
  std::mutex mutex_;
};

}  // namespace edgerun
