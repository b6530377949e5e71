"""Real fp32 models of the data folder (environment EDGERUN_DATA): answers against ONNX Runtime, no needless transposes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgerun.executors.python import PythonExecutor
from edgerun.importer import load
from edgerun.planner import make_plan
from edgerun.planner.plan import DTYPES, Plan

ROOT = Path(__file__).parents[2]
FOLDER = (ROOT / os.environ.get("EDGERUN_DATA", "../shared/data") / "models").resolve()
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no data folder; set EDGERUN_DATA")

SHAPES = {"yunet_s_dynamic": {"input": (1, 3, 160, 160)}}
PIXELS = {"mlperf_resnet8_cifar10_fp32", "mlperf_resnet8large_cifar10_fp32", "ort_mnist8", "yolox_nano"}
"""Networks that expect values 0 … 255; the others see values around 0."""
SLOW = {"onnxtut_super_resolution_fp32", "deeplab_v3", "yolox_nano", "ultraface_rfb320", "ultraface_slim320", "yunet_n_320_320"}

# name → (transposes that are left, why they are unavoidable)
TRANSPOSES = {
    "mlperf_ad01_fp32": 0, "mlperf_dscnn_kws_fp32": 0, "mlperf_resnet8_cifar10_fp32": 0, "mlperf_resnet8large_cifar10_fp32": 0,
    "mlperf_vww96_fp32": 0, "mlperf_strww_fp32": 0, "st_mobilenetv1_025_imagenet224_fp32": 0, "deeplab_v3": 0,
    "atheena_branchy_lenet_if": 0, "atheena_lenet_backbone": 0, "mnist-net_256x4": 0, "ort_mnist8": 0, "handgesture_keypoint": 0,
    "dtln_2": 0,
    "cifar_deep_kw": 1, "ultraface_rfb320": 1, "ultraface_slim320": 1, "yolox_nano": 1, "yunet_n_320_320": 1,  # a 3-channel NCHW image
    "yunet_s_dynamic": 1, "onnxtut_super_resolution_fp32": 1,  # likewise; pixel shuffle
    "sci_240x320": 2,  # 3-channel NCHW image in and out
    "vit_cifar10_pgd_2_3_16": 9,  # the image, and query, key, value and result of two attention blocks
}
ALL = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in TRANSPOSES]


def plan_of(name: str) -> Plan:
    path = FOLDER / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"no {path.name} in the data folder")
    return make_plan(load(path, shapes=SHAPES.get(name)))


def feeds_of(name: str, plan: Plan) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    slots = [plan.slots[p.slot] for p in plan.inputs]
    spread, shift = (255, 0) if name in PIXELS else (2, -1)
    return [(rng.random(s.shape) * spread + shift).astype(DTYPES[s.dtype]) for s in slots]


@pytest.mark.parametrize("name", TRANSPOSES)
def test_transposes(name: str) -> None:
    assert sum(s.kernel.startswith("transpose") for s in plan_of(name).steps) == TRANSPOSES[name]


@pytest.mark.parametrize("name", TRANSPOSES)
def test_everything_has_a_kernel(name: str) -> None:
    assert plan_of(name).fallbacks == ()


@pytest.mark.parametrize("name", ALL)
def test_answers(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    plan = plan_of(name)
    feeds = feeds_of(name, plan)
    session = onnxruntime.InferenceSession(FOLDER / f"{name}.onnx", providers=["CPUExecutionProvider"])
    expected = session.run(None, {i.name: x for i, x in zip(session.get_inputs(), feeds, strict=True)})
    found = PythonExecutor(plan).run(feeds)
    assert found.findings == ()
    for f, e in zip(found.outputs, expected, strict=True):
        np.testing.assert_allclose(f, e, rtol=1e-3, atol=2e-5 * max(1.0, float(np.abs(e).max())))


@pytest.mark.parametrize(("name", "steps"), [
    ("mlperf_ad01_fp32", 10), ("mlperf_dscnn_kws_fp32", 12), ("mlperf_resnet8_cifar10_fp32", 12), ("mlperf_vww96_fp32", 30),
    ("st_mobilenetv1_025_imagenet224_fp32", 30), ("atheena_lenet_backbone", 7), ("ort_mnist8", 5), ("cifar_deep_kw", 7),
])
def test_nothing_is_left_unfused(name: str, steps: int) -> None:
    assert len(plan_of(name).steps) == steps
