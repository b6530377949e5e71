"""Real models in the engine: the same bits on any number of threads, no finding, and the answers of ONNX Runtime."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgerun.executors import engine
from edgerun.executors.engine import EngineExecutor
from edgerun.importer import load
from edgerun.planner import make_plan

ROOT = Path(__file__).resolve().parents[2]
MODELS = Path(os.environ.get("EDGERUN_DATA", ROOT.parent / "shared" / "data")) / "models"
NAMES = ["mlperf_ad01_fp32", "mlperf_dscnn_kws_fp32", "mlperf_resnet8_cifar10_fp32", "mlperf_vww96_fp32", "ort_mnist8",
         "atheena_branchy_lenet_if", "dtln_2", "ultraface_slim320", "vit_cifar10_pgd_2_3_16"]
pytestmark = [
    pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built"),
    pytest.mark.skipif(not MODELS.is_dir(), reason="no models: set EDGERUN_DATA"),
]


@pytest.fixture(params=NAMES)
def case(request):
    """(plan, feeds in its order, ONNX Runtime's outputs) of one model on fixed random input."""
    ort = pytest.importorskip("onnxruntime")
    path = MODELS / f"{request.param}.onnx"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    peer = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feeds = {i.name: rng.standard_normal([d if isinstance(d, int) else 1 for d in i.shape]).astype(np.float32)
             for i in peer.get_inputs()}
    plan = make_plan(load(path, shapes={n: x.shape for n, x in feeds.items()}))
    wanted = peer.run([p.name for p in plan.outputs], feeds)
    return plan, [feeds[p.name] for p in plan.inputs], wanted


def test_same_bits_on_any_number_of_threads(case):
    plan, feeds, _ = case
    base = EngineExecutor(plan, threads=1)
    first = base.run(feeds)
    runs = [EngineExecutor(plan, threads=n, share=base).run(feeds) for n in (2, 3)]
    assert first.findings == ()
    assert [r.values_checked for r in runs] == [first.values_checked] * 2
    assert all(a.tobytes() == b.tobytes() for r in runs for a, b in zip(r.outputs, first.outputs, strict=True))


def test_answers_of_onnx_runtime(case):
    plan, feeds, wanted = case
    outputs = EngineExecutor(plan).run(feeds).outputs
    # Two float32 implementations of the same sums: relative to the largest output, with room for some dozens of layers.
    errors = [np.abs(a - b).max() / max(np.abs(b).max(), 1e-30) for a, b in zip(outputs, wanted, strict=True)]
    assert max(errors) < 1e-4


def test_checks_cost_no_answer(case):
    plan, feeds, _ = case
    on, off = (EngineExecutor(plan, threads=1, checks=c).run(feeds) for c in (True, False))
    assert on.values_checked > 0
    assert off.values_checked == 0
    assert all(a.tobytes() == b.tobytes() for a, b in zip(on.outputs, off.outputs, strict=True))
