/* Runs a stored plan from C: reads the file, feeds a ramp from -1 to 1, prints the first output and what was checked.
 *     cc -std=c99 example.c -ledgerun -o example && ./example model.plan */
#include <stdio.h>
#include <stdlib.h>

#include "edgerun.h"

static void *read_file(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  void *data = NULL;
  long size;
  if (!file) return NULL;
  if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0) {
    data = malloc((size_t)size);
    if (data && fread(data, 1, (size_t)size, file) != (size_t)size) {
      free(data);
      data = NULL;
    }
    *bytes = (size_t)size;
  }
  fclose(file);
  return data;
}

static int failed(const char *what) {
  fprintf(stderr, "%s: %s\n", what, edgerun_last_error());
  return 1;
}

int main(int argc, char **argv) {
  size_t bytes = 0, k, count;
  void *data;
  edgerun_plan *plan = NULL;
  edgerun_session *session = NULL;
  edgerun_tensor_info in, out;
  edgerun_run_info info;
  float *x, *y;
  const void *inputs[1];
  void *outputs[1];

  if (argc != 2 || (data = read_file(argv[1], &bytes)) == NULL) {
    fprintf(stderr, "usage: example PLAN\n");
    return 2;
  }
  if (edgerun_plan_create(data, bytes, 0, &plan) != EDGERUN_OK) return failed("plan");
  free(data); /* not borrowed */
  in.size = sizeof in;
  out.size = sizeof out;
  info.size = sizeof info;
  if (edgerun_plan_input(plan, 0, &in) != EDGERUN_OK || edgerun_plan_output(plan, 0, &out) != EDGERUN_OK) return failed("ports");
  if (in.dtype != EDGERUN_F32 || out.dtype != EDGERUN_F32 || edgerun_plan_input_count(plan) != 1 ||
      edgerun_plan_output_count(plan) != 1) {
    fprintf(stderr, "this example runs models with one float input and one float output\n");
    return 2;
  }
  if (edgerun_session_create(plan, NULL, &session) != EDGERUN_OK) return failed("session");
  x = malloc(in.bytes);
  y = malloc(out.bytes);
  if (!x || !y) return 1;
  count = in.bytes / sizeof *x;
  for (k = 0; k < count; ++k) x[k] = count > 1 ? -1.0f + 2.0f * (float)k / (float)(count - 1) : 0.0f;
  inputs[0] = x;
  outputs[0] = y;
  if (edgerun_session_run(session, inputs, 1, outputs, 1) != EDGERUN_OK) return failed("run");
  if (edgerun_session_info(session, &info) != EDGERUN_OK) return failed("info");
  for (k = 0; k < out.bytes / sizeof *y; ++k) printf("%g\n", (double)y[k]);
  printf("%s: %ld steps, %lu values checked, %lu findings\n", edgerun_isa(), (long)info.steps_run,
         (unsigned long)info.values_checked, (unsigned long)info.findings);
  edgerun_session_destroy(session);
  edgerun_plan_destroy(plan);
  free(x);
  free(y);
  return info.findings ? 1 : 0;
}
