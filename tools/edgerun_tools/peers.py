"""Other runtimes behind one function each, for `bench --against`: same model, same input, same number of threads."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgerun.errors import OptionError
from edgerun_tools import quiet

Feeds = Mapping[str, np.ndarray]
Call = Callable[[], Any]


def onnxruntime(model: Path, feeds: Feeds, threads: int, litert_model: Path | None = None) -> Call:
    """ONNX Runtime, CPU provider: all graph optimisations, sequential, `threads` threads, its default spinning."""
    ort = _module("onnxruntime", "onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    given = dict(feeds)
    return lambda: session.run(None, given)


def litert(model: Path, feeds: Feeds, threads: int, litert_model: Path | None = None) -> Call:
    """LiteRT (or tflite-runtime) with XNNPACK, on the .tflite file that --litert-model names."""
    if litert_model is None:
        raise OptionError("bench --against litert: expected the same network as a TFLite file; give --litert-model "
                          "FILE.tflite (LiteRT does not read ONNX)")
    if not os.path.isfile(litert_model):
        raise OptionError(f"--litert-model {litert_model}: expected a TFLite file; found nothing there")
    try:
        interpreter_class = importlib.import_module("ai_edge_litert.interpreter").Interpreter
    except ImportError:
        interpreter_class = _module("tflite_runtime.interpreter", "ai-edge-litert").Interpreter
    with quiet.native_stderr():
        interpreter = interpreter_class(model_path=str(litert_model), num_threads=threads)
        interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    pairs = _pair(details, feeds, litert_model)
    outputs = [d["index"] for d in interpreter.get_output_details()]

    def call() -> list[np.ndarray]:
        for index, x in pairs:
            interpreter.set_tensor(index, x)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return call


def _pair(details: list[dict[str, Any]], feeds: Feeds, path: Path) -> list[tuple[int, np.ndarray]]:
    """TFLite inputs matched to the feeds by shape and dtype, in order."""
    left = dict(feeds)
    pairs = []
    for d in details:
        shape, dtype = tuple(int(v) for v in d["shape"]), np.dtype(d["dtype"])
        match = next((n for n, x in left.items() if x.dtype == dtype and x.size == int(np.prod(shape))), None)
        if match is None:
            found = ", ".join(f"{n} {x.dtype}{list(x.shape)}" for n, x in left.items())
            raise OptionError(f"--litert-model {path}: expected an input like {d['name']} {dtype}{list(shape)}; "
                              f"found {found}: not the same network")
        pairs.append((int(d["index"]), np.ascontiguousarray(left.pop(match).reshape(shape))))
    return pairs


def openvino(model: Path, feeds: Feeds, threads: int, litert_model: Path | None = None) -> Call:
    """OpenVINO on the CPU: latency hint, float32 inference, `threads` threads."""
    ov = _module("openvino", "openvino")
    core = ov.Core()
    network = core.read_model(str(model))
    if any(i.partial_shape.is_dynamic for i in network.inputs):
        network.reshape({name: list(x.shape) for name, x in feeds.items()})
    compiled = core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
                                                   "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": "1"})
    request = compiled.create_infer_request()
    given = dict(feeds)
    return lambda: request.infer(given)


def mnn(model: Path, feeds: Feeds, threads: int, litert_model: Path | None = None) -> Call:
    """MNN on the CPU, float32, converted from the ONNX file with MNN's own converter.

    Its native module is called, not MNN.tools: importing that installs packages with pip and sends usage reports.
    """
    with quiet.native_stdout():  # it prints the processor's features
        api = _module("MNN", "MNN")
        convert = _module("_tools", "MNN").mnnconvert
    with tempfile.TemporaryDirectory() as folder:
        converted = str(Path(folder) / "model.mnn")
        with quiet.native_stdout():
            convert(["mnnconvert", "-f", "ONNX", "--modelFile", str(model), "--MNNModel", converted, "--bizCode", "edgerun"])
        runtime = api.nn.create_runtime_manager(({"backend": 0, "numThread": threads, "precision": 1},))
        names = list(feeds)
        net = api.nn.load_module_from_file(converted, names, [], runtime_manager=runtime)
    order = api.expr.NCHW
    given = [api.expr.const(x, list(x.shape), order) for x in feeds.values()]

    def call() -> list[np.ndarray]:
        return [np.array(v.read()) for v in net.onForward(given)]

    return call


def _module(name: str, distribution: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise OptionError(f"bench --against: expected the Python package {distribution}; found: {e}. Install it with "
                          f"pip install {distribution}, or leave it out of --against") from e


PEERS: dict[str, Callable[..., Call]] = {"ort": onnxruntime, "litert": litert, "openvino": openvino, "mnn": mnn}
"""Name on the command line → function(model, feeds, threads, litert_model) that returns one call."""
