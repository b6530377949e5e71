// The C interface: arguments are checked here, exceptions end here.
#include <algorithm>
#include <cstring>
#include <new>

#include "edgerun.h"
#include "session.h"
#include "topology.h"

struct edgerun_plan {
  std::shared_ptr<const edgerun::Plan> plan;
};

struct edgerun_session {
  std::unique_ptr<edgerun::Session> session;
};

namespace {

using namespace edgerun;

thread_local std::string last_error;

edgerun_status fail(edgerun_status status, const std::string& why) noexcept {
  try {
    last_error = why;
  } catch (...) {  // no memory for the message: the status has to do
  }
  return status;
}

edgerun_status fail(edgerun_status status, const char* why) noexcept {  // no string is made on the way here
  try {
    last_error = why;
  } catch (...) {
  }
  return status;
}

template <class Body>
edgerun_status guarded(const Body& body) noexcept {
  try {
    return body();
  } catch (const PlanError& e) {
    return fail(EDGERUN_BAD_PLAN, e.what());
  } catch (const std::bad_alloc&) {
    return fail(EDGERUN_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return fail(EDGERUN_INTERNAL, e.what());
  } catch (...) {
    return fail(EDGERUN_INTERNAL, "unknown exception");
  }
}

// Fills the caller's structure as far as the caller knows it.
template <class T>
edgerun_status give(T* out, T value) {
  if (!out || out->size < sizeof(size_t)) return fail(EDGERUN_INVALID_ARGUMENT, "structure is null or its size is not set");
  const size_t size = std::min(out->size, sizeof(T));
  value.size = out->size;
  std::memcpy(static_cast<void*>(out), &value, size);
  return EDGERUN_OK;
}

edgerun_status tensor_info(const Plan& plan, const std::vector<Port>& ports, size_t index, edgerun_tensor_info* info) {
  if (index >= ports.size()) return fail(EDGERUN_INVALID_ARGUMENT, "no input or output " + std::to_string(index));
  const Slot& slot = plan.slots[ports[index].slot];
  edgerun_tensor_info t{};
  t.name = ports[index].name.c_str();
  t.dtype = static_cast<int32_t>(slot.view.dtype);
  t.rank = slot.view.rank;
  std::copy_n(slot.view.dims, EDGERUN_MAX_RANK, t.dims);
  t.bytes = slot.bytes;
  return give(info, t);
}

edgerun_status check_pointers(const Session& s, const void* const* inputs, size_t count) {
  if (count != s.plan().inputs.size())
    return fail(EDGERUN_INVALID_ARGUMENT,
                "expected " + std::to_string(s.plan().inputs.size()) + " inputs, found " + std::to_string(count));
  for (size_t k = 0; k < count; ++k)
    if (!inputs || !inputs[k]) return fail(EDGERUN_INVALID_ARGUMENT, "input '" + s.plan().inputs[k].name + "' is null");
  return EDGERUN_OK;
}

edgerun_status finish(const Session& s, const RunError& e) {
  if (e.step < 0) return EDGERUN_OK;
  const Step& step = s.plan().steps[static_cast<size_t>(e.step)];
  if (e.late)
    return fail(EDGERUN_TIMEOUT, "the time was over at " + step.op_name + " '" + step.node + "' (step " + std::to_string(e.step) + ")");
  if (e.fault)
    return fail(EDGERUN_FAULT, "a check was violated at " + step.op_name + " '" + step.node + "' (step " + std::to_string(e.step) +
                                   ") and computing it again did not help; see edgerun_session_finding");
  return fail(EDGERUN_BAD_INDEX, step.op_name + " '" + step.node + "' (step " + std::to_string(e.step) + "): index " +
                                     std::to_string(e.value) + " at position " + std::to_string(e.position) +
                                     " is outside [-" + std::to_string(e.extent) + ", " + std::to_string(e.extent) + ")");
}

edgerun_status null_argument() { return fail(EDGERUN_INVALID_ARGUMENT, "a required pointer is null"); }

}  // namespace

uint32_t edgerun_abi_version(void) { return EDGERUN_ABI_VERSION; }
const char* edgerun_isa(void) { return edgerun::kernels().isa; }
const char* edgerun_last_error(void) { return last_error.c_str(); }
int32_t edgerun_default_threads(void) { return edgerun::default_threads(); }

edgerun_status edgerun_plan_create(const void* data, size_t bytes, int borrow, edgerun_plan** plan) {
  if (!data || !plan) return null_argument();
  *plan = nullptr;
  return guarded([&] {
    std::unique_ptr<Plan> p = read_plan(data, bytes, borrow != 0);
    prepare_plan(*p);
    *plan = new edgerun_plan{std::move(p)};
    return EDGERUN_OK;
  });
}

void edgerun_plan_destroy(edgerun_plan* plan) { delete plan; }
size_t edgerun_plan_input_count(const edgerun_plan* plan) { return plan ? plan->plan->inputs.size() : 0; }
size_t edgerun_plan_output_count(const edgerun_plan* plan) { return plan ? plan->plan->outputs.size() : 0; }
size_t edgerun_plan_step_count(const edgerun_plan* plan) { return plan ? plan->plan->steps.size() : 0; }

edgerun_status edgerun_plan_input(const edgerun_plan* plan, size_t index, edgerun_tensor_info* info) {
  return plan ? guarded([&] { return tensor_info(*plan->plan, plan->plan->inputs, index, info); }) : null_argument();
}

edgerun_status edgerun_plan_output(const edgerun_plan* plan, size_t index, edgerun_tensor_info* info) {
  return plan ? guarded([&] { return tensor_info(*plan->plan, plan->plan->outputs, index, info); }) : null_argument();
}

edgerun_status edgerun_plan_step(const edgerun_plan* plan, size_t index, edgerun_step_info* info) {
  if (!plan) return null_argument();
  if (index >= plan->plan->steps.size()) return fail(EDGERUN_INVALID_ARGUMENT, "no step of that index");
  const Step& s = plan->plan->steps[index];
  return give(info, edgerun_step_info{0, s.kernel_name.c_str(), s.node.c_str(), s.op_name.c_str(), is_kernel(s.op), s.guards != 0});
}

edgerun_status edgerun_session_create(const edgerun_plan* plan, const edgerun_session_options* options, edgerun_session** session) {
  if (!plan || !session) return null_argument();
  *session = nullptr;
  edgerun_session_options o{sizeof o, 0, 1, -1, 0, EDGERUN_REACTION_FLAG};
  if (options) {
    if (options->size < sizeof(size_t)) return fail(EDGERUN_INVALID_ARGUMENT, "options: size is not set");
    std::memcpy(&o, options, std::min(options->size, sizeof o));
  }
  if (o.reaction < EDGERUN_REACTION_FLAG || o.reaction > EDGERUN_REACTION_RESTRICT)
    return fail(EDGERUN_INVALID_ARGUMENT, "options: reaction: expected 0 to 4, found " + std::to_string(o.reaction));
  return guarded([&] {
    SessionOptions s;
    s.reaction = static_cast<Reaction>(o.reaction);
    s.threads = o.threads;
    s.checks = o.checks != 0;
    s.timeout_ns = o.timeout_ns;
    if (o.spin_us >= 0) s.spin_us = o.spin_us;
    *session = new edgerun_session{std::make_unique<Session>(plan->plan, s)};
    return EDGERUN_OK;
  });
}

void edgerun_session_destroy(edgerun_session* session) { delete session; }

edgerun_status edgerun_session_run(edgerun_session* session, const void* const* inputs, size_t input_count,
                                   void* const* outputs, size_t output_count) {
  if (!session) return null_argument();
  return guarded([&] {
    Session& s = *session->session;
    if (const edgerun_status status = check_pointers(s, inputs, input_count)) return status;
    if (outputs && output_count != s.plan().outputs.size())
      return fail(EDGERUN_INVALID_ARGUMENT,
                  "expected " + std::to_string(s.plan().outputs.size()) + " outputs, found " + std::to_string(output_count));
    const std::lock_guard<std::mutex> lock(s.mutex());
    return finish(s, s.run(inputs, outputs));
  });
}

edgerun_status edgerun_session_info(edgerun_session* session, edgerun_run_info* info) {
  if (!session) return null_argument();
  Session& s = *session->session;
  const std::lock_guard<std::mutex> lock(s.mutex());
  const RunInfo& r = s.info();
  edgerun_run_info out{};
  out.exit_index = r.exit_index;
  out.exit_count = static_cast<int32_t>(s.plan().exits.size());
  out.exits_reached = r.exits_reached;
  out.has_difficulty = r.has_difficulty;
  std::copy_n(r.difficulty, 4, out.difficulty);
  out.steps_run = r.steps_run;
  out.elapsed_ns = r.elapsed_ns;
  out.values_checked = r.values_checked;
  out.findings = r.findings;
  out.findings_dropped = r.findings_dropped;
  out.reruns = r.reruns;
  return give(info, out);
}

int edgerun_session_output_ready(edgerun_session* session, size_t index) {
  if (!session) return 0;
  Session& s = *session->session;
  const std::lock_guard<std::mutex> lock(s.mutex());
  return index < s.plan().outputs.size() && s.output_ready(index);
}

edgerun_status edgerun_session_exit_score(edgerun_session* session, size_t index, double* score, int32_t* predicted) {
  if (!session || !score || !predicted) return null_argument();
  Session& s = *session->session;
  const std::lock_guard<std::mutex> lock(s.mutex());
  if (index >= s.scores().size()) return fail(EDGERUN_INVALID_ARGUMENT, "the last run did not reach that exit");
  *score = s.scores()[index];
  *predicted = s.classes()[index];
  return EDGERUN_OK;
}

edgerun_status edgerun_session_finding(edgerun_session* session, size_t index, edgerun_finding* finding) {
  if (!session) return null_argument();
  Session& s = *session->session;
  const std::lock_guard<std::mutex> lock(s.mutex());
  if (index >= s.findings().size()) return fail(EDGERUN_INVALID_ARGUMENT, "no such finding");
  const EngineFinding& f = s.findings()[index];
  return give(finding, edgerun_finding{0, f.step, f.flags, f.index, f.expected, f.got, f.bound, static_cast<int32_t>(f.action), f.permanent});
}

edgerun_status edgerun_session_profile(edgerun_session* session, const void* const* inputs, size_t input_count, int64_t* ns,
                                       size_t step_count) {
  if (!session || !ns) return null_argument();
  return guarded([&] {
    Session& s = *session->session;
    if (const edgerun_status status = check_pointers(s, inputs, input_count)) return status;
    if (step_count != s.plan().steps.size()) return fail(EDGERUN_INVALID_ARGUMENT, "ns needs one entry a step");
    const std::lock_guard<std::mutex> lock(s.mutex());
    return finish(s, s.profile(inputs, nullptr, ns));
  });
}

edgerun_status edgerun_session_tune(edgerun_session* session, const void* const* inputs, size_t input_count, int32_t rounds) {
  if (!session) return null_argument();
  return guarded([&] {
    Session& s = *session->session;
    if (const edgerun_status status = check_pointers(s, inputs, input_count)) return status;
    const std::lock_guard<std::mutex> lock(s.mutex());
    return finish(s, s.tune(inputs, rounds));
  });
}

int32_t edgerun_session_threads(edgerun_session* session) { return session ? session->session->threads() : 0; }

int32_t edgerun_session_step_threads(edgerun_session* session, size_t step) {
  return session && step < session->session->plan().steps.size() ? session->session->step_threads(step) : 0;
}

edgerun_status edgerun_session_arm_fault(edgerun_session* session, int64_t step, int64_t index, uint32_t mask, int32_t runs) {
  if (!session) return null_argument();
  return guarded([&] {
    Session& s = *session->session;
    const std::lock_guard<std::mutex> lock(s.mutex());
    const std::string defect = s.arm({Site::result, step, index, mask, Fault::Mode::flip, runs});
    return defect.empty() ? EDGERUN_OK : fail(EDGERUN_INVALID_ARGUMENT, defect);
  });
}

edgerun_status edgerun_session_set_coefficients(edgerun_session* session, const double* coeff, uint32_t rows, uint32_t columns) {
  if (!session || (!coeff && rows && columns)) return null_argument();
  return guarded([&] {
    Session& s = *session->session;
    const std::lock_guard<std::mutex> lock(s.mutex());
    Policy p = s.policy();
    p.coeff.assign(coeff, coeff + static_cast<size_t>(rows) * columns);
    p.coeff_rows = columns ? rows : 0;
    const std::string defect = s.set_policy(std::move(p));
    return defect.empty() ? EDGERUN_OK : fail(EDGERUN_BAD_POLICY, defect);
  });
}
