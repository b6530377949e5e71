"""A broker for the tests that need one."""

from __future__ import annotations

from contextlib import ExitStack, closing

import numpy as np
import pytest
from brokers import Mosquitto
from servers import CUT, MODEL, ROOT, Service

from edgerun import Session
from edgerun.device import Device, Spool
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
    """Handwritten digits [n, 1, 1, 28, 28] float32, preprocessed as the model of `parts` wants them; the last 30 two at a time, upon
    each other, so that not all are easy."""
    with Session(MODEL, checks="off") as session:
        held = np.load(ROOT / "tests/exits/digits.npz")["x"][:60]
        x = np.stack([session.preprocess.apply(image).reshape(1, 1, 28, 28) for image in held])
    return np.concatenate([x, (x[:30] + x[30:]) / 2])


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    """A model with three exits, cut behind its second."""
    out = tmp_path_factory.mktemp("parts")
    assert main(["split", str(MODEL), "--at", CUT, "-o", str(out), "--json"]) == 0
    return out


@pytest.fixture(scope="session")
def long_service(tmp_path_factory, parts):
    """A running server with the tail as model "digits" and the whole as "whole"."""
    running = Service(tmp_path_factory.mktemp("server"), {"digits": parts, "whole": MODEL}).start()
    yield running
    running.kill()


@pytest.fixture
def service(long_service):
    """The same for this test: a key that was never used before, and no events yet."""
    return long_service.fresh()


@pytest.fixture
def doomed(tmp_path, parts):
    """A server of this test alone, to be killed."""
    folder = tmp_path / "doomed"
    folder.mkdir()
    running = Service(folder, {"digits": parts}).start()
    yield running
    running.kill()


@pytest.fixture
def open_device(parts, tmp_path):
    """The function that opens a device of a service, closed at the end."""
    with ExitStack() as stack:
        yield lambda service, kind="http", url="", **options: stack.enter_context(closing(Device(parts, url or service.url(kind), **{
            "model": "digits", "name": "cam-1", "key": service.key, "state": tmp_path / "state", **options})))
