/* A TCG plugin for qemu-system-arm: counts the instructions between two addresses, the first of them not included, and prints the number
 * each time. An independent count for test_counts.py. Debian ships QEMU without qemu-plugin.h: what is used of it is declared here
 * (version 1 of the interface, QEMU 4.2 and later). Arguments: from=ADDRESS,to=ADDRESS */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);

int qemu_plugin_version = 1;
static uint64_t from, to, count;
static int counts;

static void execute(unsigned cpu, void *address) {
  (void)cpu;
  if (counts) count++;
  if ((uintptr_t)address == to && counts) {
    fprintf(stderr, "counted %llu\n", (unsigned long long)count);
    counts = 0;
  }
  if ((uintptr_t)address == from) {
    counts = 1;
    count = 0;
  }
}

static void translate(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
    struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
    qemu_plugin_register_vcpu_insn_exec_cb(instruction, execute, 0, (void *)(uintptr_t)qemu_plugin_insn_vaddr(instruction));
  }
}

int qemu_plugin_install(plugin_id id, const void *info, int words, char **word) {
  (void)info;
  for (int i = 0; i < words; i++) {
    if (strncmp(word[i], "from=", 5) == 0) from = strtoull(word[i] + 5, NULL, 0);
    if (strncmp(word[i], "to=", 3) == 0) to = strtoull(word[i] + 3, NULL, 0);
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
  return 0;
}
