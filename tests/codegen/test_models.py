"""Generated C answers as the engine and the Python executor do, on the MLPerf Tiny models of the data folder and the zoo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from firmware import agree, build
from networks import FLOAT, INT8, ROOT, path_of

from edgerun import Session
from edgerun_tools.codegen import golden
from edgerun_tools.codegen.command import codegen
from edgerun_tools.codegen.generate import of_session
from edgerun_tools.codegen.targets import TARGETS, missing

RUNS = 5


def answers(path: Path, folder: Path) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """(found, expected) outputs for a few inputs. Not sanitized: the kernels are, in test_kernels.py, and these are many."""
    with Session(path, checks="off", threads=1) as session:
        firmware = of_session(session, "net", path.name)
        feeds = [golden.feeds(firmware.plan, seed) for seed in range(2, 2 + RUNS)]
        found = build(firmware, folder, flags=("-O1",)).run(feeds)
        return [(f, [a for a in session.run_raw(one).outputs if a is not None]) for f, one in zip(found, feeds, strict=True)]


@pytest.mark.parametrize("name", INT8)
def test_int8_has_the_same_bits(name, tmp_path):
    for found, expected in answers(path_of(name), tmp_path):
        for f, e in zip(found, expected, strict=True):
            np.testing.assert_array_equal(f, e)


@pytest.mark.parametrize("name", FLOAT)
def test_float_is_within_the_bound(name, tmp_path):
    for found, expected in answers(path_of(name), tmp_path):
        assert all(agree(f, e) for f, e in zip(found, expected, strict=True))


def test_a_net_of_the_zoo_gives_all_exits(tmp_path):
    for found, expected in answers(ROOT / "models" / "zoo" / "mnist_alexnet" / "model.onnx", tmp_path):
        assert len(found) == 3
        assert all(agree(f, e) for f, e in zip(found, expected, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m55", "rv32imac"])
@pytest.mark.parametrize("name", [*FLOAT, *(n for n in INT8 if n.endswith("int8qdq"))])
def test_the_report(name, core, tmp_path):
    if lacks := missing(TARGETS[core]):
        pytest.skip(f"not installed: {lacks}")
    said = codegen(str(path_of(name)), str(tmp_path), target_name=core, report=True, max_flash=2**24)
    measured = said["measured"]
    assert measured["flash"] > said["constants"]
    assert said["arena"] <= measured["ram"] <= said["arena"] + 64
    assert 0 < measured["stack"] < 2048
