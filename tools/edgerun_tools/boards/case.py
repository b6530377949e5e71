"""case.c: the function under test and its buffers, made from a manifest; everything else of the harness is fixed C."""

from __future__ import annotations

from edgerun_tools.boards.manifest import C_TYPES, Firmware, Tensor


def case_source(firmware: Firmware) -> str:
    """The text of case.c. Buffers have the alignment of their element type, no more: firmware must not count on another."""
    lines = ["/* Made by `edgerun board run` from firmware.json: the function under test and its buffers. */", '#include "harness.h"', ""]
    if firmware.header:
        lines += [f'#include "{firmware.header}"', ""]
    else:
        pointers = ["const void *"] * len(firmware.inputs) + ["void *"] * len(firmware.outputs)
        lines += [f"{firmware.returns} {firmware.symbol}({', '.join(pointers)});", ""]
        lines += [f"int {firmware.selftest}(void);", ""] if firmware.selftest else []
    for group, tensors in (("input", firmware.inputs), ("output", firmware.outputs)):
        lines += [f"static {C_TYPES[t.dtype.name]} {group}{i}[{max(t.elements, 1)}]; /* {_comment(t)} */" for i, t in enumerate(tensors)]
        lines += [f"const uint8_t board_{group}_count = {len(tensors)};", f"const board_buffer board_{group}s[] = {{"]
        lines += [f"    {{{group}{i}, {t.bytes}u}}," for i, t in enumerate(tensors)] or ["    {0, 0},"]
        lines += ["};", ""]
    if firmware.report_type:
        lines += [f"static {firmware.report_type} report;"]
    arguments = []
    for group in firmware.arguments:
        tensors = {"inputs": firmware.inputs, "outputs": firmware.outputs}.get(group, ())
        arguments += [f"{group[:-1]}{i}" for i in range(len(tensors))]
        arguments += ["&report" if firmware.report_type else "0"] if group == "report" else []
    call = f"{firmware.symbol}({', '.join(arguments)})"
    lines += ["int32_t board_call(void) {", f"  return {call};" if firmware.returns == "int" else f"  {call};\n  return 0;", "}", ""]
    tested = f"{firmware.selftest}()" if firmware.selftest else "BOARD_NO_SELFTEST"
    lines += [f"int32_t board_selftest(void) {{ return {tested}; }}", "",
              f"const uint8_t board_field_count = {len(firmware.report_fields)};", "void board_fields(int32_t *fields) {"]
    lines += [f"  fields[{i}] = (int32_t)report.{name};" for i, name in enumerate(firmware.report_fields)] or ["  (void)fields;"]
    return "\n".join([*lines, "}", ""])


def _comment(tensor: Tensor) -> str:
    return f"{tensor.name} {list(tensor.shape)}".replace("*/", "* /")
