"""Times of an entry are measured again from what its run left, and nothing else of it changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra detect")
pytest.importorskip("sklearn", reason="needs the extra detect")

import torch

from edgerun.errors import DataError, OptionError
from edgerun_tools.detect import features_of
from edgerun_tools.detect.experiment import _wanted, time_again
from edgerun_tools.detect.report import times
from edgerun_tools.detect.served import ServedTail
from edgerun_tools.detect.train import Settings, train
from edgerun_tools.split.cut import Splitter

ZOO = Path(__file__).parents[2] / "models/zoo"
NAME, COUNT = "cifar10_mobilenet", 300
MODEL, TENSOR = ZOO / NAME / "model.onnx", features_of.POINTS[NAME][1]
ENTRY = {"network": NAME, "tensor": TENSOR, "rows": ["as they are"],
         "sizes": {"train": COUNT, "calibration": COUNT, "test": COUNT, "benign": 10, "attacked": 5, "mse": 1, "paper": 1}}


def test_without_the_detector_it_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="--anew"):
        time_again(ENTRY, tmp_path, ZOO)


def test_networks_are_those_of_the_zoo_that_is_named(tmp_path):
    every = [(n, k) for n, places in features_of.POINTS.items() for k in range(len(places))]
    assert _wanted(ZOO, None) == every and _wanted(ZOO, ["cifar10_vgg:1"]) == [("cifar10_vgg", 1)]
    with pytest.raises(DataError, match="--zoo"):
        _wanted(tmp_path, None)
    for wrong in ("cifar10_vgg:2", "cifar10_vgg", "lenet:0"):
        with pytest.raises(OptionError, match=r"cifar10_vgg:0.*found '" + wrong):
            _wanted(ZOO, [wrong])


def test_only_the_times_are_new(tmp_path):
    from edgerun_tools import data

    if not (data.data_root() / "sets/cifar10_test_5k.npz").exists():
        pytest.skip("no CIFAR-10 test images (EDGERUN_DATA)")
    torch.set_num_threads(1)
    benign = features_of.features(MODEL, TENSOR, "test", tmp_path / "features", count=COUNT)
    trained = train(benign, benign, ServedTail(Splitter(str(MODEL)).cut([TENSOR]).tail), Settings(epochs=1, vae_steps=5))
    torch.save(trained, tmp_path / f"{NAME}-1-{hashlib.sha256(MODEL.read_bytes()).hexdigest()[:8]}.pt")
    found = time_again(ENTRY, tmp_path, ZOO)
    assert {k: v for k, v in found.items() if k != "latency"} == ENTRY
    assert found["latency"]["engine_torch_difference"] < 1e-2 and found["latency"]["compact"]["detector_least_us"] > 0
    table = times([found])
    assert f"{found['latency']['alone']['detector_us']:.1f}" in table and NAME in table
