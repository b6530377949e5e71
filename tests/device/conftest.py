"""A broker for the tests that need one."""

from __future__ import annotations

from contextlib import ExitStack, closing

import numpy as np
import pytest
from brokers import Mosquitto
from servers import CUT, MODEL, ROOT, Service

from edgerun import Session
from edgerun.device.spool import Spool
from edgerun_tools.cli import main



@pytest.fixture
def mosquitto(tmp_path):
    """A running mosquitto with its own folder."""
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Mosquitto(folder).start()
    yield broker
    broker.close()


@pytest.fixture
def spool_at():
    """The function that opens a spool and has it closed at the end."""
    with ExitStack() as stack:
        yield lambda path, device="cam-1", **bounds: stack.enter_context(closing(Spool(path, device, **bounds)))


@pytest.fixture(scope="session")
def digits():
    """Handwritten digits [n, 1, 1, 28, 28] float32, preprocessed as the model of `parts` wants them."""
    with Session(MODEL, checks="off") as session:
        held = np.load(ROOT / "tests/exits/digits.npz")["x"][:60]
        return np.stack([session.preprocess.apply(image).reshape(1, 1, 28, 28) for image in held])


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    """A model with three exits, cut behind its second."""
    out = tmp_path_factory.mktemp("parts")
    assert main(["split", str(MODEL), "--at", CUT, "-o", str(out), "--json"]) == 0
    return out


@pytest.fixture
def service(tmp_path, parts):
    """A running server with the tail as model "digits" and the whole as "whole"."""
    folder = tmp_path / "server"
    folder.mkdir()
    running = Service(folder, {"digits": parts, "whole": MODEL}).start()
    yield running
    running.kill()
