"""The two sides of a comparison: a model with some of its intermediate tensors handed out, in edgerun and elsewhere."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import onnx
import onnx.version_converter

from edgerun import exits, importer
from edgerun.errors import EdgeRunError, EdgeRunWarning, OptionError
from edgerun.importer.read import read
from edgerun.importer.structure import all_nodes
from edgerun.options import Options
from edgerun.session import Session
from edgerun_tools.compare_plans import boundaries, exposing, same_steps, tensor_types

Feeds = Mapping[str, np.ndarray]
Values = dict[str, np.ndarray]
Types = Mapping[str, onnx.ValueInfoProto]
GIVEN = " (ours)"
"""Ends the name of an input that stands for a tensor."""
NEWEST_WITHOUT = 18
"""Newest opset whose DequantizeLinear onnx.reference does not know."""


@dataclass(frozen=True)
class Opened:
    """A model that answers with its outputs and the tensors asked for. makers: tensor → step of our plan (our side
    only). given: tensors that the call wants under their name + GIVEN, to go on from instead of its own."""

    call: Callable[[Feeds], Values]
    close: Callable[[], None] = lambda: None
    makers: Mapping[str, int] = field(default_factory=dict)
    given: Sequence[str] = ()


class Side(Protocol):
    """One of the two."""

    label: str

    def open(self, names: Sequence[str]) -> Opened | None:
        """The model with these tensors besides its outputs; None where they change what is computed."""


def uncalibrated(model: str, options: Mapping[str, Any]) -> str | bytes:
    """The model without its exit policy, which fits one graph only: not one with further outputs or other weights.
    options: of a session."""
    proto = read(model, Options(**options).limits).proto
    if all(p.key != exits.KEY for p in proto.metadata_props):
        return model
    kept = onnx.ModelProto()
    kept.CopyFrom(proto)
    del kept.metadata_props[:]
    kept.metadata_props.extend(p for p in proto.metadata_props if p.key != exits.KEY)
    return kept.SerializeToString()


class Ours:
    """A model in edgerun, without early exits.

    session: as any user's; its plan for `feeds` is the one under test. options: those of the session. names: the ONNX
    tensors that steps of that plan make, in the order of the steps. types: of all tensors of the model's own graph.
    findings: of the checks, the most in one run.
    """

    def __init__(self, session: Session, label: str, options: Mapping[str, Any], feeds: Feeds) -> None:
        self.session, self.label, self.findings = session, label, 0
        self.plan = session.plan_for(dict(feeds))
        shapes = {n: x.shape for n, x in feeds.items()}
        self._options = {**options, "shapes": shapes}
        with _quiet():
            graph = importer.load(read(session.proto, session.options.limits), shapes=shapes)
            self.types = tensor_types(graph)
        own = {o.name for o in session.outputs}
        self.names = [n for n in boundaries(self.plan, self.types) if n not in own]

    def size(self, name: str) -> int:
        """Bytes of a tensor; 0 where its size depends on data."""
        tensor = self.types[name].type.tensor_type
        dims = [d.dim_value for d in tensor.shape.dim]
        return int(np.prod(dims)) * onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize

    def open(self, names: Sequence[str]) -> Opened | None:
        if not names:
            return Opened(partial(self._call, self.session), makers=same_steps(self.plan, self.plan) or {})
        with _quiet():
            changed = exposing(self.session.proto, self.types, names)
            try:
                session = Session(changed.SerializeToString(), **self._options)
                makers = same_steps(self.plan, session.plan)
            except EdgeRunError:  # such a tensor (one too large, say) cannot be an output
                return None
        if makers is None:
            session.close()
            return None
        return Opened(partial(self._call, session), session.close, makers)

    def _call(self, session: Session, feeds: Feeds) -> Values:
        raw = session.run_raw(session.check(dict(feeds)))
        self.findings = max(self.findings, len(raw.findings))
        return {o.name: a for o, a in zip(session.outputs, raw.outputs, strict=True) if a is not None}


class OnnxRuntime:
    """ONNX Runtime on the CPU. optimized: with all its graph optimisations and 8-bit kernels, else with none. cut: types of the tensors
    that it takes from us, None where it goes on from its own."""

    def __init__(self, model: onnx.ModelProto, cut: Types | None, threads: int, optimized: bool) -> None:
        self.label = f"ONNX Runtime, {'all' if optimized else 'no'} optimisations"
        self._model, self._cut, self._threads, self._optimized = model, cut, threads, optimized
        try:
            self._ort = importlib.import_module("onnxruntime")
        except ImportError as e:
            raise OptionError(f"compare --with ort: expected the Python package onnxruntime; found: {e}. Install it with "
                              "pip install onnxruntime, or compare with reference or python") from e

    def open(self, names: Sequence[str]) -> Opened:
        """Raises OptionError, with ONNX Runtime's words, where it cannot run the model."""
        options = self._ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = self._threads, 1, 3
        levels = self._ort.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if self._optimized else levels.ORT_DISABLE_ALL
        with _refusals("ort"):
            session = self._ort.InferenceSession(_changed(self._model, names, self._cut).SerializeToString(), options,
                                                 providers=["CPUExecutionProvider"])
        return Opened(_named([o.name for o in session.get_outputs()], session.run, "ort"),
                      given=() if self._cut is None else names)


class Reference:
    """onnx.reference: the ONNX project's own definition of the operators, in NumPy; slow. cut: as of OnnxRuntime."""

    def __init__(self, model: onnx.ModelProto, cut: Types | None) -> None:
        self.label, self._model, self._cut = "onnx.reference", model, cut

    def open(self, names: Sequence[str]) -> Opened:
        """Raises OptionError where the model has operators that it cannot run."""
        from onnx.reference import ReferenceEvaluator

        with _refusals("reference"):
            evaluator = ReferenceEvaluator(_implemented(_changed(self._model, names, self._cut)))
        return Opened(_named(evaluator.output_names, evaluator.run, "reference"),
                      given=() if self._cut is None else names)


def _implemented(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in an opset of which onnx.reference has a DequantizeLinear, where there is one."""
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), NEWEST_WITHOUT + 1)
    if opset > NEWEST_WITHOUT or all(n.op_type != "DequantizeLinear" for n in all_nodes(model.graph.node)):
        return model
    return onnx.version_converter.convert_version(model, NEWEST_WITHOUT + 1)


def _changed(model: onnx.ModelProto, names: Sequence[str], cut: Types | None) -> onnx.ModelProto:
    """A copy with further outputs (both runtimes find out their types themselves), cut at them where that is asked for:
    what reads them reads further inputs instead."""
    copy = exposing(model, {n: onnx.ValueInfoProto(name=n) for n in names}, names)
    if cut is None:
        return copy
    for node in all_nodes(copy.graph.node):
        for k, name in enumerate(node.input):
            if name in names:
                node.input[k] = name + GIVEN
    for name in names:
        copy.graph.input.add().CopyFrom(cut[name])
        copy.graph.input[-1].name = name + GIVEN
    return copy


def _named(names: Sequence[str], run: Callable[[None, dict[str, np.ndarray]], Sequence[Any]], who: str) \
        -> Callable[[Feeds], Values]:
    def call(feeds: Feeds) -> Values:
        with _refusals(who), np.errstate(all="ignore"):
            return {n: np.asarray(a) for n, a in zip(names, run(None, dict(feeds)), strict=True)}

    return call


@contextmanager
def _refusals(who: str) -> Iterator[None]:
    """Another runtime's error as an OptionError."""
    try:
        yield
    except Exception as e:  # every runtime raises its own kinds
        raise OptionError(f"compare --with {who}: expected that it runs the model; it says: {type(e).__name__}: {e}; "
                          "compare with another runtime") from e


@contextmanager
def _quiet() -> Iterator[None]:
    """Sessions made on the way repeat the warnings of the first one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeRunWarning)
        yield
