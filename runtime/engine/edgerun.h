/* The C interface of the edgerun engine: load a plan, open sessions, run them.
 *
 * Every function that can fail returns a status; edgerun_last_error() says why, for the calling thread. Structures carry
 * their own size in `size` (set it to sizeof the structure before the call), so fields may be added at their ends.
 * Plans are immutable and may serve any number of sessions; a session runs one input at a time (calls on it from several
 * threads wait for each other); several sessions may run at once. Nothing is allocated while a plan runs.
 */
#ifndef EDGERUN_H
#define EDGERUN_H

#include <stddef.h>
#include <stdint.h>

#if defined(EDGERUN_STATIC)
#define EDGERUN_API
#elif defined(__GNUC__)
#define EDGERUN_API __attribute__((visibility("default")))
#else
#define EDGERUN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define EDGERUN_ABI_VERSION 1
#define EDGERUN_MAX_RANK 8

typedef enum edgerun_status {
  EDGERUN_OK = 0,
  EDGERUN_INVALID_ARGUMENT = 1, /* a null pointer, a wrong count, an index out of range */
  EDGERUN_BAD_PLAN = 2,         /* damaged bytes, or a plan this build cannot run */
  EDGERUN_OUT_OF_MEMORY = 3,
  EDGERUN_BAD_INDEX = 4,        /* an index tensor points outside the gathered dimension */
  EDGERUN_BAD_POLICY = 5,       /* a policy that does not fit the plan's exits */
  EDGERUN_INTERNAL = 6,
  EDGERUN_TIMEOUT = 7,          /* a run took longer than its session allows; its outputs are not complete */
  EDGERUN_FAULT = 8             /* a check was violated, nothing helped, and the session's reaction is to abort */
} edgerun_status;

typedef enum edgerun_dtype {
  EDGERUN_F32 = 0, EDGERUN_F64 = 1, EDGERUN_F16 = 2, EDGERUN_BF16 = 3, EDGERUN_I8 = 4, EDGERUN_U8 = 5, EDGERUN_I16 = 6,
  EDGERUN_U16 = 7, EDGERUN_I32 = 8, EDGERUN_U32 = 9, EDGERUN_I64 = 10, EDGERUN_U64 = 11, EDGERUN_BOOL = 12
} edgerun_dtype;

typedef struct edgerun_plan edgerun_plan;
typedef struct edgerun_session edgerun_session;

typedef struct edgerun_tensor_info {
  size_t size;
  const char *name; /* lives as long as the plan */
  int32_t dtype;    /* edgerun_dtype */
  int32_t rank;
  int64_t dims[EDGERUN_MAX_RANK];
  size_t bytes;
} edgerun_tensor_info;

typedef struct edgerun_step_info {
  size_t size;
  const char *kernel, *node, *op; /* live as long as the plan */
  int32_t is_kernel;              /* 0 for branch, jump and exit */
  int32_t checked;
} edgerun_step_info;

/* What is done about a violated check. All but FLAG: the step is computed again, its weights are made again, the run is done
 * again; each at most once. Where that does not help RETRY reports, ABORT ends the run with EDGERUN_FAULT, EXIT_EARLY gives the
 * answer of the last exit that was reached in order (without one: EDGERUN_FAULT), and RESTRICT cuts what stays wrong off at the range
 * that the plan says it was seen in, and goes on. */
typedef enum edgerun_reaction {
  EDGERUN_REACTION_FLAG = 0, EDGERUN_REACTION_RETRY = 1, EDGERUN_REACTION_ABORT = 2, EDGERUN_REACTION_EXIT_EARLY = 3,
  EDGERUN_REACTION_RESTRICT = 4
} edgerun_reaction;

typedef struct edgerun_session_options {
  size_t size;
  int32_t threads; /* 0: physical cores this process may use */
  int32_t checks;  /* 0: off, 1: as the plan says */
  int32_t spin_us; /* how long idle workers spin before they sleep; -1: default */
  int64_t timeout_ns; /* time a run may take; 0: no limit */
  int32_t reaction;   /* edgerun_reaction */
} edgerun_session_options;

typedef struct edgerun_run_info {
  size_t size;
  int32_t exit_index;    /* the exit at which the run stopped, -1 for a plan without exits */
  int32_t exit_count;    /* exits of the plan */
  int32_t exits_reached; /* entries of edgerun_session_exit_score */
  int32_t has_difficulty;
  float difficulty[4];   /* alpha, edge density, variance, Laplacian */
  int64_t steps_run;
  int64_t elapsed_ns;
  uint64_t values_checked;
  uint64_t findings;         /* steps whose check was violated */
  uint64_t findings_dropped; /* of those, beyond what is kept */
  int32_t reruns;            /* how often the run was begun again */
} edgerun_run_info;

#define EDGERUN_FLAG_IDENTITY 1u   /* an activation's identity does not hold */
#define EDGERUN_FLAG_NON_FINITE 2u /* a NaN or an infinity appeared */

typedef enum edgerun_action { /* what became of a finding; the answer does not depend on what CORRECTED, RESTORED and RERUN were about */
  EDGERUN_REPORTED = 0,
  EDGERUN_CORRECTED = 1, /* computed again, it holds */
  EDGERUN_RESTORED = 2,  /* with weights made again, it holds */
  EDGERUN_RERUN = 3,     /* the run was begun again; what was still wrong then is a finding of its own */
  EDGERUN_DEGRADED = 4,  /* the answer is that of an earlier exit */
  EDGERUN_ABORTED = 5,
  EDGERUN_RESTRICTED = 6 /* what stayed wrong was cut off at the range it was seen in */
} edgerun_action;

typedef struct edgerun_finding {
  size_t size;
  int32_t step;
  uint32_t flags;
  int64_t index; /* flat index in the step's output, or the start of the row that holds the violation */
  float expected, got, bound; /* NaN where the kernel keeps none */
  int32_t action;             /* edgerun_action */
  int32_t permanent;          /* violated again when it was computed again */
} edgerun_finding;

EDGERUN_API uint32_t edgerun_abi_version(void);
EDGERUN_API const char *edgerun_isa(void); /* instruction set of the kernels in use */
EDGERUN_API const char *edgerun_last_error(void);
EDGERUN_API int32_t edgerun_default_threads(void);

/* borrow != 0: `data` must stay valid and unchanged until the plan and all its sessions are destroyed; constants are then
 * read where they lie, if `data` is 64-byte aligned. */
EDGERUN_API edgerun_status edgerun_plan_create(const void *data, size_t bytes, int borrow, edgerun_plan **plan);
EDGERUN_API void edgerun_plan_destroy(edgerun_plan *plan); /* sessions that use it keep what they need */
EDGERUN_API size_t edgerun_plan_input_count(const edgerun_plan *plan);
EDGERUN_API size_t edgerun_plan_output_count(const edgerun_plan *plan);
EDGERUN_API size_t edgerun_plan_step_count(const edgerun_plan *plan);
EDGERUN_API edgerun_status edgerun_plan_input(const edgerun_plan *plan, size_t index, edgerun_tensor_info *info);
EDGERUN_API edgerun_status edgerun_plan_output(const edgerun_plan *plan, size_t index, edgerun_tensor_info *info);
EDGERUN_API edgerun_status edgerun_plan_step(const edgerun_plan *plan, size_t index, edgerun_step_info *info);

/* options may be null: all defaults. */
EDGERUN_API edgerun_status edgerun_session_create(const edgerun_plan *plan, const edgerun_session_options *options,
                                                  edgerun_session **session);
EDGERUN_API void edgerun_session_destroy(edgerun_session *session);

/* inputs[k] and outputs[k] point to `bytes` of edgerun_plan_input/output(k); outputs[k] may be null: not wanted. Outputs
 * that were not computed because the run stopped at an exit are left as they were: see edgerun_session_output_ready. */
EDGERUN_API edgerun_status edgerun_session_run(edgerun_session *session, const void *const *inputs, size_t input_count,
                                               void *const *outputs, size_t output_count);
/* What the last run of this session did. */
EDGERUN_API edgerun_status edgerun_session_info(edgerun_session *session, edgerun_run_info *info);
EDGERUN_API int edgerun_session_output_ready(edgerun_session *session, size_t index);
EDGERUN_API edgerun_status edgerun_session_exit_score(edgerun_session *session, size_t index, double *score, int32_t *predicted);
EDGERUN_API edgerun_status edgerun_session_finding(edgerun_session *session, size_t index, edgerun_finding *finding);

/* Adds each step's nanoseconds to ns[step]; runs to the end whatever the policy says. */
EDGERUN_API edgerun_status edgerun_session_profile(edgerun_session *session, const void *const *inputs, size_t input_count,
                                                   int64_t *ns, size_t step_count);
/* Measures every step alone and shared among threads, and keeps the faster way. */
EDGERUN_API edgerun_status edgerun_session_tune(edgerun_session *session, const void *const *inputs, size_t input_count,
                                                int32_t rounds);
EDGERUN_API int32_t edgerun_session_threads(edgerun_session *session);
EDGERUN_API int32_t edgerun_session_step_threads(edgerun_session *session, size_t step);

/* Fault injection: XORs `mask` into element `index` of the output of `step`, before its check, in the next `runs` runs.
 * Steps whose kernel has no checked activation ignore it. */
EDGERUN_API edgerun_status edgerun_session_arm_fault(edgerun_session *session, int64_t step, int64_t index, uint32_t mask,
                                                     int32_t runs);
/* Replaces the plan's dart coefficients: rows x columns, row-major (exit x class). */
EDGERUN_API edgerun_status edgerun_session_set_coefficients(edgerun_session *session, const double *coeff, uint32_t rows,
                                                            uint32_t columns);

#ifdef __cplusplus
}
#endif
#endif
