"""Checks in generated C: each sees the corruption it is meant for, what is computed again is right, and clean runs have no finding.

Faults are statements put into the generated text. `infers` counts the calls of infer: the self-test's is the first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from firmware import DSP, SANITIZED, Said, agree, build, of_plan
from onnx import TensorProto, helper
from test_kernels import model_of

from edgerun.errors import OptionError
from edgerun.executors.python import PythonExecutor
from edgerun.importer import load
from edgerun.options import PRESETS
from edgerun.planner import make_plan
from edgerun.planner.plan import Plan
from edgerun_tools.codegen import fragments, golden
from edgerun_tools.codegen.checks.asked import KINDS
from edgerun_tools.codegen.checks.scrub import crc32c
from edgerun_tools.codegen.generate import Firmware

KINDS_OF_ALL = "maed,abft,range,weights,flow,buffers,duplicate"


def float_model() -> onnx.ModelProto:
    """x [1,3,8,8] → Conv Relu → depthwise Conv Clip → 1×1 Conv Sigmoid → MaxPool → Gemm → Softmax [1,5]."""
    rng = np.random.default_rng(7)
    shapes = {"w0": (8, 3, 3, 3), "b0": (8,), "w1": (8, 1, 3, 3), "b1": (8,), "w2": (6, 8, 1, 1), "w3": (96, 5), "b3": (5,)}
    constants = {n: (0.3 * rng.standard_normal(s)).astype(np.float32) for n, s in shapes.items()}
    constants |= {"low": np.float32(-0.5), "high": np.float32(1.5)}
    nodes = [helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c0"], ["r0"]),
             helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], group=8),
             helper.make_node("Clip", ["c1", "low", "high"], ["r1"]), helper.make_node("Conv", ["r1", "w2"], ["c2"]),
             helper.make_node("Sigmoid", ["c2"], ["s2"]), helper.make_node("MaxPool", ["s2"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
             helper.make_node("Flatten", ["p"], ["f"]), helper.make_node("Gemm", ["f", "w3", "b3"], ["g"]),
             helper.make_node("Softmax", ["g"], ["y"])]
    return model_of(nodes, [("x", TensorProto.FLOAT, [1, 3, 8, 8])], [("y", TensorProto.FLOAT, [1, 5])], constants)


def byte_model() -> onnx.ModelProto:
    """x int8 [1,3,8,8] → QLinearConv → depthwise QLinearConv → MaxPool → QLinearConv of all pixels → [1,7,1,1]."""
    rng = np.random.default_rng(8)
    constants = {"s": np.float32(0.05), "z": np.int8(3), "ws": np.float32(0.02), "wz": np.int8(0)}
    nodes, x = [], "x"
    for k, (shape, group, pads) in enumerate([((8, 3, 3, 3), 1, [1] * 4), ((8, 1, 3, 3), 8, [1] * 4), ((7, 8, 4, 4), 1, [0] * 4)]):
        constants |= {f"w{k}": rng.integers(-127, 127, shape, np.int8, endpoint=True),
                      f"b{k}": rng.integers(-900, 900, shape[0]).astype(np.int32), f"s{k}": np.float32(0.02 * np.sqrt(np.prod(shape[1:])))}
        nodes.append(helper.make_node("QLinearConv", [x, "s" if k == 0 else f"s{k - 1}", "z", f"w{k}", "ws", "wz", f"s{k}", "z", f"b{k}"],
                                      [f"y{k}"], pads=pads, group=group))
        x = f"y{k}"
        if k == 1:
            nodes.append(helper.make_node("MaxPool", [x], ["p"], kernel_shape=[2, 2], strides=[2, 2]))
            x = "p"
    return model_of(nodes, [("x", TensorProto.INT8, [1, 3, 8, 8])], [("y2", TensorProto.INT8, [1, 7, 1, 1])], constants)


MODELS = {"float": float_model, "bytes": byte_model}


def planned(name: str, checks: str = KINDS_OF_ALL) -> Plan:
    return make_plan(load(MODELS[name]()), checks=checks, in_place=False)


def reported(plan: Plan, firmware: Firmware, folder, flags=("-O0",), compiler="gcc", selftest=True) -> list[tuple[bool, Said]]:
    """For three inputs whether C agrees with the Python executor, and its report."""
    feeds = [golden.feeds(plan, seed) for seed in (2, 3, 4)]
    runner = PythonExecutor(plan)
    expected = [runner.run(one).outputs for one in feeds]
    found = build(firmware, folder, compiler, flags).reported(feeds, selftest)
    return [(all(agree(f, e, 1e-5) for f, e in zip(outputs, truth, strict=True)), said)
            for (outputs, said), truth in zip(found, expected, strict=True)]


# -- without faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("compiler", "flags"), [
    ("gcc", ("-O0", *SANITIZED[1:])), ("gcc", ("-O0", *DSP[1:])), ("clang", ("-O2", "-Wdouble-promotion"))], ids=["plain", "dsp", "clang"])
def test_a_clean_run_has_no_finding(name, compiler, flags, tmp_path):
    plan = planned(name)
    for right, said in reported(plan, of_plan(plan, reaction="retry"), tmp_path, flags, compiler):
        assert right
        assert said == Said(0, 0, said.checks_passed, 0, 0, -1, 0)
        assert said.checks_passed > 2 * len(plan.steps)


@pytest.mark.parametrize("name", MODELS)
def test_without_checks_there_is_no_trace_of_them(name):
    source = of_plan(planned(name, "off")).sources
    assert "er_watch" not in source.source
    assert "ER_MAED" not in source.source
    assert "FAULT" not in source.header


@pytest.mark.parametrize("preset", [p for p in PRESETS if p != "off"])
def test_the_presets_are_those_of_the_engine(preset):
    said = of_plan(planned("float", preset), reaction="retry").sources
    names = {f"NET_CHECK_{k.upper().replace('-', '_')} {KINDS[k]}" for k in PRESETS[preset]}
    assert {line.removeprefix("#define ") for line in said.header.splitlines() if "NET_CHECK_" in line} == names


# -- faults -----------------------------------------------------------------------------------------------------------

FIRST = 1
"""The step of the first product, behind a transposition."""
ONCE, ALWAYS = "if (infers == 2 && !struck++)", "if (infers >= 2)"
SITES = {
    # kind of check: model, kinds asked for, text before which the fault goes, what it does
    "abft, bytes": ("bytes", "abft", "  er_see(t);", "t ^= 1;"),
    "abft, bytes, two": ("bytes", "abft", "  er_see(t);", "t ^= 1 << 30 | 1;"),
    "abft, floats, four pixels": ("float", "abft", "    seen += ((a0 + a1) + (a2 + a3)) + ((b0 + b1) + (b2 + b3));", "c2 += 1.0f;"),
    "abft, floats, one pixel": ("float", "abft", "    seen += (a0 + a1) + (a2 + a3);\n    if (n > 4)", "a1 = -a1 * 64.0f;"),
    "abft, floats, depthwise": ("float", "abft", "    ER_COLUMN(r);\n    ER_PUT", "p1 += 2.0f;"),
    "maed, relu": ("float", "maed", "  er_watch.off = er_off_bounds4", "s1 += 1e-3f;"),
    "maed, clip": ("float", "maed", "  er_watch.off = er_off_bounds4", "s2 = 1.6f;"),
    "maed, not finite": ("float", "maed", "  er_watch.off = er_off_bounds4", "s0 = INFINITY;"),
    "maed, sigmoid": ("float", "maed", "    er_finite(v);\n    { /* y (1 + e^x)", "y[k] *= 1.00001f;"),
    "maed, softmax": ("float", "maed", "      for (sum = -1.0f, k = 0;", "to[0] += 1e-4f;"),
    "maed, rescaling": ("bytes", "maed,abft,duplicate", "  differs = v[0]", "v[2] ^= 64;"),
}


def struck(firmware: Firmware, before: str, what: str, when: str = ONCE) -> Firmware:
    """The same with a fault before the first place with this text."""
    source = firmware.sources.source
    assert before in source
    source = source.replace(before, f"  {when} {{ {what} }}\n{before}", 1)
    source = source.replace('#include "net.h"\n', '#include "net.h"\nstatic int infers, struck;\n', 1)
    source = source.replace("  er_begin();", "  er_begin();\n  ++infers; (void)struck;", 1)
    return replace(firmware, sources=replace(firmware.sources, source=source))


@pytest.mark.parametrize("site", SITES)
def test_a_passing_fault_is_seen_and_cured_by_computing_again(site, tmp_path):
    name, checks, before, what = SITES[site]
    plan = planned(name, checks)
    first, *others = reported(plan, struck(of_plan(plan, reaction="retry"), before, what), tmp_path)
    right, said = first
    assert right
    assert (said.status, said.faults, said.recomputed, said.first_check) == (0, 1, 1, KINDS[checks.partition(",")[0]])
    assert said.first_step >= 0
    assert all(right and said.faults == 0 for right, said in others)


@pytest.mark.parametrize("site", ["abft, bytes", "maed, sigmoid"])
def test_a_lasting_fault_is_told(site, tmp_path):
    name, checks, before, what = SITES[site]
    plan = planned(name, checks)
    for _, said in reported(plan, struck(of_plan(plan, reaction="retry"), before, what, ALWAYS), tmp_path):
        assert said.status == -1
        assert said.first_check == KINDS[checks]
        assert said.faults >= 4  # twice in each of two runs
        assert said.recomputed >= 2 + len(plan.steps)


@pytest.mark.parametrize(("reaction", "written", "recomputes"), [("flag", True, False), ("abort", False, True)])
def test_reactions(reaction, written, recomputes, tmp_path):
    """flag: nothing is computed again; abort: the run ends at the first fault that stays, and no output is written."""
    name, checks, before, what = SITES["abft, bytes"]
    plan = planned(name, checks)
    firmware = struck(of_plan(plan, reaction=reaction), before, what, ALWAYS)
    built = build(firmware, tmp_path, flags=("-O0",))
    (outputs, said), = built.reported([golden.feeds(plan, 2)])
    assert said.status == -1
    assert outputs[0].any() == written
    assert (said.recomputed > 0) == recomputes


def test_a_fault_in_a_later_product(tmp_path):
    """The 600th sum of bytes is of the depthwise convolution: the one before it has 512 results."""
    plan = planned("bytes", "abft")
    firmware = struck(of_plan(plan, reaction="retry"), "  er_see(t);", "static int n; t ^= n++ == 600;", "if (infers == 2)")
    (right, said), *_ = reported(plan, firmware, tmp_path)
    assert right
    assert said == Said(0, 0, said.checks_passed, 1, 1, FIRST + 1, KINDS["abft"])


def between(k: int) -> str:
    """Text that follows step k."""
    return f"  er_enter({k + 1});"


@pytest.mark.parametrize(("name", "checks", "what"), [
    ("bytes", "buffers", "arena.u8[{at}] ^= 16;"), ("bytes", "buffers", "arena.u8[{at}] ^= 1; arena.u8[{at} + 8] ^= 1;"),
    ("float", "buffers", "arena.u8[{at}] ^= 1;"), ("float", "abft,range", "arena.f32[({at}) / 4] = 1e30f;")])
def test_memory_that_changes_between_two_steps(name, checks, what, tmp_path):
    """Of no use to compute the step again: the run is done again."""
    plan = planned(name, checks)
    at = plan.slots[plan.steps[FIRST].outputs[0]].offset + 20
    firmware = struck(of_plan(plan, reaction="retry"), between(FIRST), what.format(at=at))
    first, *others = reported(plan, firmware, tmp_path)
    assert first[0]
    assert first[1].status == 0
    assert first[1].first_check == KINDS[checks.split(",")[-1]]
    assert first[1].recomputed >= len(plan.steps)
    assert all(right and said.faults == 0 for right, said in others)


def test_an_output_that_changes_in_the_callers_array(tmp_path):
    plan = planned("bytes", "buffers")
    firmware = of_plan(plan, reaction="retry")
    before = next(line for line in firmware.sources.source.splitlines() if line.startswith("  er_judge") and "er_same(y2" in line)
    (_, said), *_ = reported(plan, struck(firmware, before, "y2[3] ^= 1;"), tmp_path)
    assert (said.status, said.first_check, said.faults) == (-1, KINDS["buffers"], 1)


def test_a_step_that_is_left_out(tmp_path):
    plan = planned("bytes", "flow")
    firmware = of_plan(plan, reaction="retry")
    skipped = struck(firmware, between(0), "goto after;")
    source = skipped.sources.source.replace(between(1), f"after:\n{between(1)}", 1)
    first, *_ = reported(plan, replace(skipped, sources=replace(skipped.sources, source=source)), tmp_path)
    assert first[0]
    assert (first[1].status, first[1].faults, first[1].first_check) == (0, 1, KINDS["flow"])


def test_a_step_without_a_checksum_is_computed_twice(tmp_path):
    plan = planned("bytes", "duplicate,abft")
    k = next(k for k, s in enumerate(plan.steps) if s.kernel.startswith("max_pool"))
    at = plan.slots[plan.steps[k].outputs[0]].offset
    firmware = of_plan(plan, reaction="retry")
    what = f"arena.u8[{at}] ^= 2; er_sums[0] = er_word_sum(arena.u8 + {at}, 8);"
    first, *_ = reported(plan, struck(firmware, "    ER_FORGET_MEMORY;", what), tmp_path)
    assert first[0]
    assert (first[1].status, first[1].faults, first[1].recomputed, first[1].first_check) == (0, 1, 1, KINDS["duplicate"])


def damaged(firmware: Firmware) -> Firmware:
    """The first weight of the first product has one bit flipped, by hand in the table."""
    head, _, tail = firmware.sources.source.partition("step1_weights[")
    begin, _, rest = tail.partition("{\n  ")
    first, comma, others = rest.partition(",")
    return replace(firmware, sources=replace(firmware.sources, source=f"{head}step1_weights[{begin}{{\n  {int(first) ^ 1}{comma}{others}"))


def test_a_damaged_weight_is_found_within_some_runs_and_told_from_then_on(tmp_path):
    plan = planned("bytes", "weights")
    firmware = damaged(of_plan(plan, reaction="retry"))
    built = build(firmware, tmp_path, flags=("-O1", "-DNET_SCRUB_BYTES=300u"))
    feeds = [golden.feeds(plan, 2)] * 20
    with pytest.raises(AssertionError, match="90"):
        built.run(feeds)
    statuses = [said.status for _, said in built.reported(feeds, selftest=False)]
    first = statuses.index(-1)
    assert 0 < first < 18
    assert statuses[first:] == [-1] * (20 - first)


def test_a_damaged_weight_shows_in_the_checksum_at_once(tmp_path):
    plan = planned("bytes", "abft")
    said = [s for _, s in reported(plan, damaged(of_plan(plan, reaction="retry")), tmp_path, selftest=False)]
    assert {s.status for s in said} == {-1}
    assert {s.first_step for s in said} == {FIRST}


def test_crc32c_is_that_of_rfc_3720():
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"123456789") == 0xE3069283


def test_switches_settle_nested_conditions():
    text = fragments.settled("rescale.h", {})
    assert "ER_TWICE" not in text
    assert text.count("#if") == text.count("#endif")
    assert "__ARM_FEATURE_SAT" in text


@pytest.mark.parametrize("reaction", ["exit-early", "restrict"])
def test_reactions_of_the_engine_alone(reaction):
    with pytest.raises(OptionError, match="--on-fault"):
        of_plan(planned("float"), reaction=reaction)
