"""ONNX Runtime's Python API on top of `Session`: code written for it changes one import.

    import edgerun as ort
    session = ort.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    logits, = session.run(None, {"x": x})

Options of ONNX Runtime that mean nothing here are accepted and kept, so that copied code runs.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NoReturn

import numpy as np

from edgerun.errors import EdgeRunWarning, FaultWarning, InputError, OptionError
from edgerun.feeds import TensorInfo
from edgerun.result import Result
from edgerun.session import Session

PROVIDER = "CPUExecutionProvider"


class GraphOptimizationLevel(IntEnum):
    """ONNX Runtime's values; edgerun always optimises."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(IntEnum):
    """ONNX Runtime's values; edgerun runs one operator after the other, each on several threads."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


def _unsupported(call: str, instead: str) -> NoReturn:
    raise OptionError(f"{call}: expected a call that edgerun has; found one that it does not; {instead}")


class SessionOptions:
    """Settings by ONNX Runtime's names. These act: `intra_op_num_threads` (0: physical cores) and
    `add_free_dimension_override_by_name`; and our own `checks` ("maed"|"maed-paper"|"off"), `exit_policy`, `thresholds`,
    `budget_ms`, `patience`, `adaptive`, `nonfinite`, `executor`, `strict`, `on_fault`, `fault_log` (see `Session`). Every other attribute
    can be set and read and changes nothing.
    """

    def __init__(self) -> None:
        self.intra_op_num_threads = 0
        self.inter_op_num_threads = 0
        self.graph_optimization_level: Any = GraphOptimizationLevel.ORT_ENABLE_ALL
        self.execution_mode: Any = ExecutionMode.ORT_SEQUENTIAL
        self.enable_profiling = False
        self.enable_mem_pattern = True
        self.enable_mem_reuse = True
        self.enable_cpu_mem_arena = True
        self.log_severity_level = 2
        self.log_verbosity_level = 0
        self.logid = ""
        self.optimized_model_filepath = ""
        self.profile_file_prefix = "edgerun_profile_"
        self.checks = "maed"
        self.exit_policy = "none"
        self.thresholds: tuple[float, ...] | None = None
        self.budget_ms: float | None = None
        self.patience: int | None = None
        self.adaptive = False
        self.nonfinite = "error"
        self.executor = "auto"
        self.strict = False
        self.on_fault: str | None = None
        self.fault_log: str | os.PathLike[str] | None = None
        self._entries: dict[str, str] = {}
        self._dimensions: dict[str, int] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self._entries[key] = value

    def get_session_config_entry(self, key: str) -> str:
        return self._entries[key]

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Fix a symbolic dimension ("batch", "height") to a size."""
        self._dimensions[name] = size

    def add_free_dimension_override_by_denotation(self, denotation: str, size: int) -> NoReturn:
        """Not supported: OptionError."""
        _unsupported("add_free_dimension_override_by_denotation", "use add_free_dimension_override_by_name")

    def register_custom_ops_library(self, path: str) -> NoReturn:
        """Not supported: OptionError."""
        _unsupported("register_custom_ops_library", "a model may hold its operators as ONNX functions")

    def add_initializer(self, name: str, value: Any) -> NoReturn:
        """Not supported: OptionError."""
        _unsupported("add_initializer", "store the constant in the model")


class RunOptions:
    """Accepted by `InferenceSession.run`; nothing in it changes a run."""

    def __init__(self) -> None:
        self.log_severity_level = 2
        self.log_verbosity_level = 0
        self.logid = ""
        self.terminate = False
        self.only_execute_path_to_fetches = False
        self._entries: dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        self._entries[key] = value

    def get_run_config_entry(self, key: str) -> str:
        return self._entries[key]


@dataclass(frozen=True)
class NodeArg:
    """An input or output: `shape` with symbolic dimensions as strings, `type` as in "tensor(float)"."""

    name: str
    shape: list[int | str | None]
    type: str

    @classmethod
    def of(cls, info: TensorInfo) -> NodeArg:
        return cls(info.name, list(info.shape), info.type)


@dataclass(frozen=True)
class ModelMetadata:
    """What the model file says about itself."""

    producer_name: str = ""
    graph_name: str = ""
    domain: str = ""
    description: str = ""
    graph_description: str = ""
    version: int = 0
    custom_metadata_map: dict[str, str] = field(default_factory=dict)


class InferenceSession:
    """A model behind ONNX Runtime's calls. Errors are edgerun's own (`edgerun.errors`), also ValueError where the
    caller's input is wrong. Models with exits return all outputs unless `SessionOptions.exit_policy` says otherwise;
    outputs behind the exit that was taken are then None.
    """

    def __init__(self, path_or_bytes: str | os.PathLike[str] | bytes, sess_options: SessionOptions | None = None,
                 providers: Sequence[Any] | None = None, provider_options: Sequence[Any] | None = None,
                 **kwargs: Any) -> None:
        options = sess_options or SessionOptions()
        _warn_of(providers)
        self._options = options
        self._bind(Session(path_or_bytes, exit_policy=options.exit_policy, thresholds=options.thresholds,
                           budget_ms=options.budget_ms, patience=options.patience, adaptive=options.adaptive,
                           nonfinite=options.nonfinite, checks=options.checks,
                           threads=options.intra_op_num_threads or None, executor=options.executor,
                           strict=options.strict, on_fault=options.on_fault, fault_log=options.fault_log, dimensions=options._dimensions))

    @classmethod
    def of(cls, session: Session) -> InferenceSession:
        """The same calls on an existing `Session`."""
        made = cls.__new__(cls)
        made._options = SessionOptions()
        made._bind(session)
        return made

    def _bind(self, session: Session) -> None:
        self._session = session
        self._names = [o.name for o in session.outputs]
        self._leaves_early = session.policy.kind != "none"
        self._warned = False

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any],
            run_options: Any = None) -> list[np.ndarray]:
        """Outputs by name, or all of them in the model's order (`None` or []). Arrays belong to the caller.

        A failed check does not change the return type: it is reported as a FaultWarning; use `run_verified` to see it.
        A batch of several samples runs to the end, whatever the exit policy (EdgeRunWarning at the first one).
        """
        session = self._session
        wanted = self._wanted(output_names) if output_names else None
        arrays = session.check(input_feed)
        if self._leaves_early and not self._warned and any(a.ndim and a.shape[0] != 1 for a in arrays):
            self._warned = True
            warnings.warn(f"exit policy {session.policy.kind}: a batch runs to the last exit and returns all outputs; "
                          "feed single samples, or use run_verified()", EdgeRunWarning, stacklevel=2)
        raw = session.run_raw(arrays, learn=True)
        failed = [f for f in raw.findings if not f.cured]
        if failed:
            first = failed[0]
            warnings.warn(f"{len(failed)} check(s) failed, first in step {first.step} ({first.op} "
                          f"{first.node!r}); use run_verified()", FaultWarning, stacklevel=2)
        outputs: list[Any] = list(raw.outputs)
        return outputs if wanted is None else [outputs[k] for k in wanted]

    def _wanted(self, output_names: Sequence[str]) -> list[int]:
        unknown = [n for n in output_names if n not in self._names]
        if unknown:
            raise InputError(f"output names: expected some of {', '.join(self._names)}; found {', '.join(unknown)}")
        return [self._names.index(n) for n in output_names]

    def run_verified(self, input_feed: Mapping[str, Any]) -> Result:
        """`Session.run`: the same run with exit, difficulty, time, checks. With an exit policy batches run sample by
        sample."""
        return self._session.run(input_feed)

    def get_inputs(self) -> list[NodeArg]:
        return [NodeArg.of(i) for i in self._session.inputs]

    def get_outputs(self) -> list[NodeArg]:
        return [NodeArg.of(o) for o in self._session.outputs]

    def get_providers(self) -> list[str]:
        return [PROVIDER]

    def set_providers(self, providers: Sequence[Any] | None = None, provider_options: Any = None) -> None:
        """Changes nothing; a warning where the CPU is not among them."""
        _warn_of(providers)

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {PROVIDER: {}}

    def enable_fallback(self) -> None:
        """Changes nothing: there is one provider."""

    def disable_fallback(self) -> None:
        """Changes nothing: there is one provider."""

    def get_overridable_initializers(self) -> list[NodeArg]:
        """None: constants of the model cannot be fed."""
        return []

    def end_profiling(self) -> str:
        """"": no file is written; use `Session.profile`."""
        return ""

    def io_binding(self) -> NoReturn:
        """Not supported: OptionError."""
        _unsupported("io_binding", "arrays of the CPU are read in place: use run(None, feed)")

    def get_session_options(self) -> SessionOptions:
        return self._options

    def get_modelmeta(self) -> ModelMetadata:
        model = self._session.proto
        return ModelMetadata(model.producer_name, model.graph.name, model.domain, model.doc_string,
                             model.graph.doc_string, model.model_version, dict(self._session.metadata))


def _warn_of(providers: Sequence[Any] | None) -> None:
    other = [p if isinstance(p, str) else p[0] for p in providers or ()]
    if other and PROVIDER not in other:
        warnings.warn(f"edgerun runs on the CPU: expected {PROVIDER} among the providers; found {', '.join(other)}",
                      stacklevel=3)


def get_device() -> str:
    """"CPU"."""
    return "CPU"


def set_default_logger_severity(severity: int) -> None:
    """Changes nothing: edgerun has no log; its warnings are Python's."""


def get_all_providers() -> list[str]:
    """The same as `get_available_providers`."""
    return [PROVIDER]


def get_available_providers() -> list[str]:
    """["CPUExecutionProvider"], for code that asks."""
    return [PROVIDER]
