"""The committed zoo: files match the manifest, carry their metadata, run at any batch, are as accurate as stated."""
from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from edgerun_tools import data

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
ZOO, SAMPLES = ROOT / "models" / "zoo", ROOT / "models" / "samples"
MODELS = tomllib.loads((ZOO / "manifest.toml").read_text())["model"]
ALLOWED = {"Conv", "Relu", "Add", "MaxPool", "GlobalAveragePool", "Flatten", "Gemm", "Sigmoid", "Tanh", "Identity"}
CIFAR = "cifar10_test_5k.npz"
TEST_SETS = {"mnist_alexnet": "mnist", **{f"cifar10_{n}": CIFAR for n in ("resnet18", "alexnet", "vgg", "mobilenet")}}

each_model = pytest.mark.parametrize("entry", MODELS, ids=[m["name"] for m in MODELS])


def _metadata(model: onnx.ModelProto) -> dict:
    return {p.key: json.loads(p.value) for p in model.metadata_props
            if p.key in ("edgerun.exits", "edgerun.preprocess", "edgerun.labels", "edgerun.model_card")}


def _feed(images: np.ndarray, meta: dict) -> np.ndarray:
    """uint8 [N,H,W,C] -> float32 [N,C,H,W], as the metadata says."""
    pre = meta["edgerun.preprocess"]
    x = (images.astype(np.float32) * pre["scale"] - np.float32(pre["mean"])) / np.float32(pre["std"])
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)


def _session(entry: dict):
    ort = pytest.importorskip("onnxruntime")
    return ort.InferenceSession(str(ZOO / entry["file"]), providers=["CPUExecutionProvider"])


def _sample(name: str, meta: dict) -> np.ndarray:
    pre = meta["edgerun.preprocess"]
    im = Image.open(SAMPLES / name).convert(pre["color"]).resize(pre["size"][::-1], Image.BILINEAR)
    return np.asarray(im).reshape(1, *pre["size"], -1)


@each_model
def test_file_is_the_one_in_the_manifest(entry):
    blob = (ZOO / entry["file"]).read_bytes()
    assert hashlib.sha256(blob).hexdigest() == entry["sha256"]
    assert len(blob) == entry["bytes"] <= 12_000_000


@each_model
def test_model_is_valid_and_says_what_it_is(entry):
    model = onnx.load(ZOO / entry["file"])
    onnx.checker.check_model(model, full_check=True)
    meta = _metadata(model)
    assert entry["exits"] == [o.name for o in model.graph.output]
    assert meta.get("edgerun.exits") == (entry["exits"] if len(entry["exits"]) > 1 else None)
    assert len(meta["edgerun.labels"]) == 10
    assert model.graph.input[0].name == "image"
    dims = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", *entry["input"][2:]]
    assert meta["edgerun.preprocess"]["size"] == entry["input"][3:]
    assert {n.op_type for n in model.graph.node} <= ALLOWED


@each_model
def test_earlier_exits_come_first_in_the_graph(entry):
    """A runtime that walks nodes in file order reaches each exit before it starts on the next segment."""
    graph = onnx.load(ZOO / entry["file"]).graph
    at = {o: i for i, n in enumerate(graph.node) for o in n.output}
    assert [at[name] for name in entry["exits"]] == sorted(at[name] for name in entry["exits"])


@each_model
def test_any_batch_gives_the_same_answers(entry):
    session = _session(entry)
    x = np.random.default_rng(0).standard_normal((3, *entry["input"][2:])).astype(np.float32)
    together = session.run(None, {"image": x})
    for i in range(3):
        for whole, one in zip(together, session.run(None, {"image": x[i:i + 1]}), strict=True):
            np.testing.assert_allclose(whole[i:i + 1], one, rtol=1e-4, atol=1e-4)


def _test_images(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name.startswith("digits"):
        pytest.importorskip("sklearn")
        return data.digits("test")[:2]
    path = Path(os.environ.get("EDGERUN_DATA", ROOT.parent / "shared" / "data")) / "sets" / TEST_SETS[name]
    if not path.exists():
        pytest.skip(f"no {path}")
    x, y, _ = data.load(path)
    return (x[data.mnist_split("test")], y[data.mnist_split("test")]) if name.startswith("mnist") else (x, y)


@each_model
def test_accuracy_on_the_test_images_is_the_stated_one(entry):
    x, y = _test_images(entry["name"])
    meta, session = _metadata(onnx.load(ZOO / entry["file"])), _session(entry)
    right = np.zeros(len(entry["exits"]))
    for i in range(0, len(y), 250):
        logits = session.run(None, {"image": _feed(x[i:i + 250], meta)})
        right += [(z.argmax(1) == y[i:i + 250]).sum() for z in logits]
    np.testing.assert_allclose(100 * right / len(y), entry["accuracy_test"], atol=0.101)


def test_digit_samples_are_read_by_the_mnist_model():
    entry = next(m for m in MODELS if m["name"] == "mnist_alexnet")
    meta, session = _metadata(onnx.load(ZOO / entry["file"])), _session(entry)
    feeds = [{"image": _feed(_sample(f"digit_{d}.png", meta), meta)} for d in range(10)]
    got = [int(session.run(None, f)[-1].argmax()) for f in feeds]
    assert sum(g == d for d, g in enumerate(got)) >= 9, got
