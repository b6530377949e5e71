// A plugin of qemu: counts executed instructions and prints their number at the end. Debian has no header for plugins, so what is
// used of qemu's plugin interface (docs/devel/tcg-plugins, versions 1 to 4) is declared here.
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int flags, void *);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

#ifndef QEMU_PLUGIN_VERSION
#define QEMU_PLUGIN_VERSION 1  // of qemu 4.2 to 8.2
#endif
#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static uint64_t executed;

static void ran(unsigned cpu, void *instructions) { (void)cpu, executed += (uintptr_t)instructions; }
static void translated(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id, qemu_plugin_register_vcpu_tb_exec_cb(block, ran, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}
static void ended(plugin_id id, void *data) { (void)id, (void)data, fprintf(stderr, "%" PRIu64 "\n", executed); }

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  (void)info, (void)argc, (void)argv;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}
