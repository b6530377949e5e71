"""A model with checks: every node is offered to the checks that were chosen, and reported with what it got."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass

import onnx

from edgerun.errors import ModelError, OptionError
from edgerun.exits import KEY as CALIBRATION_KEY
from edgerun.planner.ranges import KEY as RANGES_KEY
from edgerun.planner.ranges import Ranges, dumps
from edgerun_tools.defined import defined
from edgerun_tools.hardening import activations, finite, layers, ranges, weights
from edgerun_tools.hardening.graph import Graph, layer
from edgerun_tools.hardening.rounding import ARITHMETIC
from edgerun_tools.hardening.verdict import FAULT, STEPS, Check, Verdict

KEY = "edgerun.harden"
"""Metadata of the result: JSON with the names of the checks, in the order of `edgerun_fault_steps`, and the settings."""
SCHEMA = "edgerun.harden/1"
CHECKS = ("abft", "maed", "weights", "finite", "range")
NO_CHECK = "no check for this operator"
MOVES = "moves values and computes none"
_MOVES = frozenset({"Cast", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Shape",
                    "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"})


@dataclass(frozen=True)
class Row:
    """A node of the model and what checks it: kinds, or the reason why none does."""

    layer: str
    operator: str
    checks: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True)
class Hardened:
    """The new model; `checks` are the elements of `edgerun_fault_steps`; `unchecked`: constants that no check covers, and why."""

    model: onnx.ModelProto
    checks: list[Check]
    rows: list[Row]
    unchecked: dict[str, str]


def harden_model(model: onnx.ModelProto, checks: Collection[str] = CHECKS, *, arithmetic: str = "float32",
                 bounds: Ranges | None = None) -> Hardened:
    """A copy of a model that computes the same outputs, and whether something went wrong on the way; metadata stay, but for the
    calibration of early exits.

    checks: of CHECKS. arithmetic: of ARITHMETIC, what will run the model. bounds: ranges of values, for the check "range".
    ModelError where the model has these outputs already, nothing can be checked, or its opset cannot be raised; OptionError
    for unknown names.
    """
    unknown = sorted(set(checks) - set(CHECKS))
    if unknown or not checks:
        raise OptionError(f"--checks: expected some of {', '.join(CHECKS)}; found {', '.join(unknown) or 'none'}")
    if arithmetic not in ARITHMETIC:
        raise OptionError(f"--arithmetic: expected {', '.join(ARITHMETIC)}; found {arithmetic!r}")
    graph = Graph(defined(without_calibration(model)))
    verdict = Verdict(graph)
    checker = layers.Checker(graph, verdict, arithmetic)
    covered_by_silu: set[int] = set()
    rows = []
    for node in graph.nodes:
        kinds: list[str] = []
        reasons: list[str] = []
        label = Check(layer(node), node.op_type, "maed")
        if "abft" in checks and node.op_type in layers.OPERATORS and not node.domain:
            _note(layers.KIND, checker.check(node), kinds, reasons)
        if "abft" in checks and node.output and node.output[0] in checker.members:
            kinds.append(layers.KIND)
        if "maed" in checks and id(node) in covered_by_silu:
            kinds.append("maed")
        elif "maed" in checks and node.op_type in activations.OPERATORS and not node.domain:
            product = activations.silu_of(graph, node)
            _note("maed", _activation(graph, node, product, verdict, label), kinds, reasons)
            if product is not None and "maed" in kinds:
                covered_by_silu.add(id(product))
        if "range" in checks and bounds and node.output and node.output[0] in bounds:
            ranges.check(graph, node.output[0], *bounds[node.output[0]], verdict, layer(node), node.op_type)
            kinds.append("range")
        rows.append(Row(layer(node), node.op_type, tuple(kinds), "" if kinds else "; ".join(reasons) or _why_none(node)))
    if "finite" in checks:
        for name in [n for n in graph.outputs if graph.is_float(n)]:
            finite.check(graph, name, verdict, Check(name, "output", "finite"))
    unchecked = {}
    if "weights" in checks:
        unchecked = weights.check(graph, _left(graph, checker.covered), verdict)
    if not verdict.checks:
        raise ModelError(f"harden: expected a model with something that {', '.join(checks)} can check; found none of it")
    verdict.finish()
    described = {"schema": SCHEMA, "outputs": [FAULT, STEPS], "arithmetic": arithmetic,
                 "checks": [asdict(c) for c in verdict.checks]}
    metadata = {KEY: json.dumps(described)}
    if bounds:
        metadata[RANGES_KEY] = dumps(bounds)
    return Hardened(graph.finish(metadata), verdict.checks, rows, unchecked)


def without_calibration(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without the calibration of its exits, which fits one graph only."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.metadata_props[:]
    copy.metadata_props.extend(p for p in model.metadata_props if p.key != CALIBRATION_KEY)
    return copy


def _note(kind: str, reason: str | None, kinds: list[str], reasons: list[str]) -> None:
    if reason is None:
        kinds.append(kind)
    else:
        reasons.append(reason)


def _why_none(node: onnx.NodeProto) -> str:
    return MOVES if node.op_type in _MOVES and not node.domain else NO_CHECK


def _activation(graph: Graph, node: onnx.NodeProto, product: onnx.NodeProto | None, verdict: Verdict, label: Check) -> str | None:
    rank = graph.rank(node.output[0])
    if not graph.is_float(node.output[0]) or rank is None:
        return "not known to be float32, or of unknown rank"
    if product is not None:
        activations.check_silu(graph, node, product, rank, verdict, label)
        return None
    return activations.check(graph, node, rank, verdict, label)


def _left(graph: Graph, covered: set[str]) -> list[str]:
    """Constants that something reads at run time and no golden copy covers."""
    done: set[str] = set()
    todo = list(covered)
    while todo:
        name = todo.pop()
        if name not in done:
            done.add(name)
            todo += list(graph.producer[name].input) if name in graph.producer else []
    literal = [n.output[0] for n in graph.nodes if n.op_type == "Constant"]
    return [n for n in (*graph.initializers, *literal) if n not in done and n in graph.readers]
