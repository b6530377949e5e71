"""A broker for the tests that need one."""

from __future__ import annotations

from contextlib import ExitStack, closing

import pytest
from brokers import Mosquitto

from edgerun.device.spool import Spool


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
