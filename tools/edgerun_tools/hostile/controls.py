"""Subjects that misbehave on purpose: the tests hold the runner against them, so that no failure goes unnoticed."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import numpy as np

from edgerun.errors import ModelFormatError

from .case import Array
from .subject import Feeds

Answer = tuple[Feeds, list["Array | None"]]


def refuses(path: Path) -> Answer:
    raise ModelFormatError(f"{path.name}: expected another model")


def raises(path: Path) -> Answer:
    raise KeyError(path.name)


def answers_wrongly(path: Path) -> Answer:
    return {"x": np.ones(4, np.float32)}, [np.zeros(4, np.float32)]


def answers_nothing(path: Path) -> Answer:
    return {"x": np.ones(4, np.float32)}, []


def crashes(path: Path) -> Answer:
    ctypes.string_at(0)
    raise AssertionError("address 0 could be read")


def leaves(path: Path) -> Answer:
    os._exit(0)


def hangs(path: Path) -> Answer:
    while True:
        time.sleep(1)


def is_slow(path: Path) -> Answer:
    time.sleep(0.5)
    return refuses(path)


def hoards(path: Path) -> Answer:
    """Holds 300 MiB for a moment, then refuses."""
    np.ones(300 << 20, np.uint8)
    return refuses(path)


def wants_too_much(path: Path) -> Answer:
    """8 GiB, which the limit on addresses does not grant."""
    np.ones(8 << 30, np.uint8)
    return refuses(path)
