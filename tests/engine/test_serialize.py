"""The stored plan: layout, checksum, and that damaged or hostile bytes are refused without a crash."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from plans import chain, exits_plan, gather_plan

from edgerun.errors import PlanError
from edgerun.executors import engine
from edgerun.planner.plan import Policy, Slot
from edgerun.planner.serialize import MAGIC, VERSION, to_buffer, to_bytes

needs_engine = pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")


def seal(data: bytearray) -> bytes:
    """The bytes with a checksum that fits them."""
    struct.pack_into("<I", data, 60, 0)
    struct.pack_into("<I", data, 60, zlib.crc32(data))
    return bytes(data)


@pytest.fixture
def stored() -> bytes:
    return to_bytes(exits_plan(Policy("confidence", thresholds=(0.5, 0.5))))


def test_header(stored):
    magic, version, header, total = struct.unpack_from("<8s2IQ", stored)
    assert (magic, version, header, total) == (MAGIC, VERSION, 64, len(stored))
    assert seal(bytearray(stored)) == stored


def test_the_buffer_is_aligned_and_constants_in_it_are_too():
    plan = gather_plan()
    buffer = to_buffer(plan)
    assert buffer.ctypes.data % 64 == 0
    at = buffer.tobytes().find(plan.constants[0].tobytes())
    assert at > 0
    assert at % 64 == 0


def test_the_same_plan_gives_the_same_bytes():
    assert to_bytes(gather_plan()) == to_bytes(gather_plan())


def test_a_dtype_that_cannot_be_stored():
    plan = chain(1, 4)
    with pytest.raises(PlanError, match="cannot be stored"):
        to_bytes(type(plan)(**{**vars(plan), "slots": (Slot("x", "f99", (4,), "input", 0),)}))


@needs_engine
@pytest.mark.parametrize("size", [0, 1, 63, 64, 200, -1])
def test_truncated(stored, size):
    with pytest.raises(ValueError, match="plan:"):
        engine._engine.Plan(stored[:size])


@needs_engine
@pytest.mark.parametrize("at", [0, 8, 12, 16, 24, 32, 36, 60, 64, 300, -1])
def test_a_flipped_byte_is_noticed(stored, at):
    bad = bytearray(stored)
    bad[at] ^= 0x10
    with pytest.raises(ValueError, match="plan:"):
        engine._engine.Plan(bytes(bad))


HOSTILE = """
import sys, zlib, struct
import numpy as np
from edgerun import _engine
good = open(sys.argv[1], "rb").read()
inputs = [np.load(f) for f in sys.argv[3:]]
rng = np.random.default_rng(int(sys.argv[2]))
refused = 0
header = 64 + 24 * 17
for k in range(1500):
    bad = bytearray(good)
    for at in rng.integers(0, len(bad) if k % 2 else min(len(bad), 6000), rng.integers(1, 4)):
        bad[at] = int(rng.integers(256))
    struct.pack_into("<I", bad, 60, 0)
    struct.pack_into("<I", bad, 60, zlib.crc32(bad))
    try:
        session = _engine.Session(_engine.Plan(bytes(bad)), 1)
        session.run(inputs)
    except (ValueError, IndexError, MemoryError):
        refused += 1
print("refused", refused)
"""


@needs_engine
@pytest.mark.parametrize("seed", range(3))
def test_mutated_plans_of_a_real_model_never_crash(tmp_path, exit_bytes, image, seed):
    """With the checksum made right again: random bytes in a model's plan, loaded and run in a process of its own."""
    from edgerun.importer import load
    from edgerun.planner import make_plan

    (tmp_path / "plan").write_bytes(to_bytes(make_plan(load(exit_bytes, shapes={"image": image.shape}))))
    np.save(tmp_path / "x.npy", image)
    (tmp_path / "hostile.py").write_text(HOSTILE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "hostile.py", "plan", str(seed), "x.npy"], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 100
