"""Every executor agrees with ONNX Runtime on the real fp32 models of the data folder (environment EDGERUN_DATA)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgerun.executors import engine
from edgerun.executors.base import Executor
from edgerun.executors.python import PythonExecutor
from edgerun.importer import load
from edgerun.planner import make_plan
from edgerun.planner.plan import DTYPES, Plan

ROOT = Path(__file__).parents[2]
FOLDER = (ROOT / os.environ.get("EDGERUN_DATA", "../shared/data") / "models").resolve()
QUANTISED = ("int8", "qdq", "qoperator")
MODELS = sorted(p.stem for p in FOLDER.glob("*.onnx") if not any(word in p.stem for word in QUANTISED))
SHAPES = {"yunet_s_dynamic": {"input": (1, 3, 160, 224)}}
RELATIVE, ABSOLUTE = 2e-4, 1e-6
"""Bound of a difference: RELATIVE times the largest value of the output (sums in different orders, through up to 150
layers), and ABSOLUTE for outputs that are nearly 0 (ONNX Runtime's sigmoid errs by 1e-7 there)."""


def feeds_of(plan: Plan) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    slots = [plan.slots[p.slot] for p in plan.inputs]
    return [rng.random(s.shape).astype(DTYPES[s.dtype]) for s in slots]


def executor_of(name: str, plan: Plan) -> Executor:
    if name == "python":
        return PythonExecutor(plan)
    reason = engine.unsupported(plan)
    if reason:
        pytest.skip(reason)
    return engine.EngineExecutor(plan)


@pytest.mark.skipif(not MODELS, reason="no models; set EDGERUN_DATA to the data folder")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("executor", ["python", "engine"])
@pytest.mark.parametrize("name", MODELS)
def test_agrees_with_onnx_runtime(name: str, executor: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    onnxruntime.set_default_logger_severity(4)
    path = FOLDER / f"{name}.onnx"
    plan = make_plan(load(path, shapes=SHAPES.get(name)))
    feeds = feeds_of(plan)
    run = executor_of(executor, plan).run(feeds)
    peer = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = peer.run([p.name for p in plan.outputs], {p.name: x for p, x in zip(plan.inputs, feeds, strict=True)})
    assert run.findings == ()
    wrong = [port.name for port, found, truth in zip(plan.outputs, run.outputs, expected, strict=True)
             if found.shape != truth.shape or not close(found, truth)]
    assert wrong == []


def close(found: np.ndarray, truth: np.ndarray) -> bool:
    largest = float(np.abs(truth).max(initial=0.0))
    return bool(np.all(np.abs(found.astype(np.float64) - truth) <= RELATIVE * largest + ABSOLUTE))
