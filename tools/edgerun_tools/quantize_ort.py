"""ONNX Runtime's static quantiser, as `edgerun quantize` uses it: float32 model and inputs in, 8-bit model out."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx

from edgerun.errors import EdgeRunError, ModelError, OptionError

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
FORMATS = {"qdq": "QDQ", "qoperator": "QOperator"}
ACTIVATIONS = {"int8": "QInt8", "uint8": "QUInt8"}
STRIDE = 8
"""Inputs whose intermediate tensors are held at a time: entropy and percentile would keep those of all inputs."""
WARNINGS, ERRORS = 2, 3
"""ONNX Runtime's levels of logging: its default, and ours while the quantiser runs."""
QUANTISED = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QGemm"})


@dataclass(frozen=True)
class Settings:
    """How to quantise. per_channel: one scale for every output channel of a weight. OptionError for unknown names."""

    format: str = "qdq"
    activations: str = "int8"
    method: str = "minmax"
    per_channel: bool = True

    def __post_init__(self) -> None:
        for name, known in (("format", FORMATS), ("activations", ACTIVATIONS), ("method", METHODS)):
            if getattr(self, name) not in known:
                raise OptionError(f"--{name}: expected {', '.join(known)}; found {getattr(self, name)!r}")

    def to_json(self) -> dict[str, Any]:
        """As the metadata keep it."""
        return asdict(self)


class Inputs(Protocol):
    """Inputs of a model by number, each {input: array}."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> dict[str, np.ndarray]: ...


def require() -> Any:
    """The module onnxruntime.quantization; OptionError says what to install where it is missing."""
    try:
        return importlib.import_module("onnxruntime.quantization")
    except ImportError as e:
        raise OptionError(f"quantize: expected the Python package onnxruntime, whose quantiser is used; found: {e}. Install "
                          "it with pip install 'edgerun[quantize]'") from e


def require_float(model: onnx.ModelProto, name: str) -> None:
    """ModelError where there is something in the model that was quantised before, or no float32 input."""
    done = sorted({n.op_type for n in model.graph.node if n.op_type in QUANTISED or n.op_type.startswith("QLinear")})
    if done:
        raise ModelError(f"{name}: expected a floating-point model; found {', '.join(done)}: it is quantised already")


def quantise(model: onnx.ModelProto, rows: Inputs, settings: Settings,
             tick: Callable[[int, int], None]) -> onnx.ModelProto:
    """Run the quantiser. rows: calibration inputs; tick(done, of) after each. The result has the graph's inputs and outputs
    as they were (float32) and none of the metadata. ModelError with the quantiser's words where it cannot."""
    api = require()
    reader = _Reader(rows, tick)
    with tempfile.TemporaryDirectory(prefix="edgerun-quantize-") as folder:
        source, prepared, target = (str(Path(folder) / f"{n}.onnx") for n in ("model", "prepared", "quantised"))
        onnx.save(model, source)
        try:
            with _silence():
                # ONNX's own shape inference is enough for what a plan can hold; the symbolic one would need SymPy.
                api.quant_pre_process(source, prepared, skip_symbolic_shape=True)
                api.quantize_static(
                    prepared, target, reader, quant_format=getattr(api.QuantFormat, FORMATS[settings.format]),
                    per_channel=settings.per_channel, weight_type=api.QuantType.QInt8,
                    activation_type=getattr(api.QuantType, ACTIVATIONS[settings.activations]),
                    calibrate_method=getattr(api.CalibrationMethod, METHODS[settings.method]),
                    extra_options={"CalibStridedMinMax": STRIDE})
        except EdgeRunError:
            raise
        except Exception as e:  # the quantiser raises whatever its parts raise
            raise ModelError(f"quantize: expected a model that ONNX Runtime's quantiser can take; it says: "
                             f"{type(e).__name__}: {e}") from e
        return onnx.load(target)


class _Reader:
    """ONNX Runtime's CalibrationDataReader (it looks for the methods only), in blocks of STRIDE."""

    def __init__(self, rows: Inputs, tick: Callable[[int, int], None]) -> None:
        self._rows, self._tick = rows, tick
        self._next, self._end = 0, len(rows)

    def __len__(self) -> int:
        """Whole blocks, which is what the quantiser wants; the last one may have fewer rows."""
        return -(-len(self._rows) // STRIDE) * STRIDE

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next, self._end = start_index, min(end_index, len(self._rows))

    def get_next(self) -> dict[str, np.ndarray] | None:
        if self._next >= self._end:
            return None
        row = self._rows[self._next]
        self._next += 1
        self._tick(self._next, len(self._rows))
        return row

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return iter(self.get_next, None)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The quantiser prints and logs advice to its own callers, some of it to the root logger."""
    ort: Any = importlib.import_module("onnxruntime")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers, root.level = [logging.NullHandler()], logging.CRITICAL
    try:
        ort.set_default_logger_severity(ERRORS)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.handlers, root.level = handlers, level
        ort.set_default_logger_severity(WARNINGS)
