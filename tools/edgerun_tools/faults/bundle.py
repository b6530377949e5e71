"""Everything that a process needs to run trials, as one block of bytes: it travels to other processes and machines."""

from __future__ import annotations

import io
import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from edgerun.errors import FaultError
from edgerun_tools.faults.models import Planned
from edgerun_tools.faults.target import Answer, Feeds, observe, open_session
from edgerun_tools.faults.trial import DUE, Outcome, Target

CLEAN_EVERY = 10
"""After every so manieth fault a run without faults, under each preset: its findings are false alarms."""
PATIENCE = 30
"""A trial may take so many times as long as its runs do without faults, and at least SECONDS; then it is tried alone (`isolate.ALONE`)."""
SECONDS = 2.0
TRIED = 8
"""Inputs that a candidate of an attack is tried on."""
OFF = "off"
"""The preset that every bundle has: nothing is checked."""


@dataclass(frozen=True)
class Bundle:
    """model: bytes of the ONNX file, external data included; presets: name → checks; settings: of the sessions; later: see Target.trial."""

    model: bytes
    presets: Mapping[str, str]
    inputs: tuple[Feeds, ...]
    later: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def pack(self) -> bytes:
        """One .npz: the same bytes for the same bundle."""
        arrays = {f"{k}/{name}": array for k, feeds in enumerate(self.inputs) for name, array in feeds.items()}
        told = json.dumps({"presets": self.presets, "later": self.later, "settings": self.settings, "inputs": len(self.inputs)})
        held = io.BytesIO()
        np.savez(held, model=np.frombuffer(self.model, np.uint8), told=np.frombuffer(told.encode(), np.uint8),
                 **arrays)  # type: ignore[arg-type]
        return held.getvalue()

    @staticmethod
    def unpack(data: bytes) -> Bundle:
        """The inverse of `pack`."""
        with np.load(io.BytesIO(data), allow_pickle=False) as z:
            told = json.loads(z["told"].tobytes())
            feeds: list[dict[str, np.ndarray]] = [{} for _ in range(told["inputs"])]
            for key in z.files:
                number, _, name = key.partition("/")
                if name:
                    feeds[int(number)][name] = z[key]
            return Bundle(z["model"].tobytes(), told["presets"], tuple(feeds), told["later"], told["settings"])


class Bench:
    """A bundle with its sessions open and its clean answers known.

    digest: SHA-256 over the clean answers of every preset; equal wherever results may be put together. limit: seconds that one trial
    may take."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.targets: dict[str, Target] = {}
        self._stained = False  # set in a fork only
        took, held = [], sha256()
        for name, checks in bundle.presets.items():
            session = open_session(bundle.model, checks, bundle.settings)
            golden = [observe(session, feeds) for feeds in bundle.inputs]
            for again, feeds, number in zip(golden, bundle.inputs, range(len(golden)), strict=True):
                _sound(again, observe(session, feeds), name, number)
                took.append(session.run(feeds).latency_ms / 1e3)
                held.update(again.bits)
            self.targets[name] = Target(session, bundle.inputs, golden)
        self.digest = held.hexdigest()
        self.limit = max(SECONDS, PATIENCE * statistics.median(took) * (bundle.later + 3))

    def trial(self, fault: Planned, name: str) -> dict[str, Any]:
        """In a fork: the outcome of a fault under a preset, and findings of the clean run that follows every so manieth. Where its answer
        is wrong, the fault has spoilt what healing does not restore: no clean run, and what it finds is true."""
        target = self.targets[name]
        result: dict[str, Any] = {"outcome": target.trial(fault, self.bundle.later).to_dict()}
        if fault.id % CLEAN_EVERY == 0:
            right, findings = target.clean((fault.input + 1) % len(self.bundle.inputs))
            if right:
                result["clean"] = findings
            self._stained |= not right  # the batch is taken apart
        return result

    def damage(self, fault: Planned, name: str) -> dict[str, Any]:
        """In a fork: how far a fault makes the right answer fall behind the best other one without checks, summed over TRIED inputs."""
        return {"damage": self.targets[OFF].damage(fault, TRIED)}

    def sound(self, names: Iterable[str]) -> bool:
        """In a fork, after its trials: whether clean runs under these presets still give the right answers, without findings."""
        return not self._stained and all(self.targets[n or OFF].clean(0) == (True, 0) for n in dict.fromkeys(names))

    def close(self) -> None:
        """Give sessions and memory back."""
        for target in self.targets.values():
            target.session.close()


def assemble(fault: Planned, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The result of a fault from those of its trials, by preset: its fields; `out`: preset → outcome; `clean`: preset → findings, where
    clean runs followed (a trial that ends its process has none); `stained`: presets under which clean runs went wrong after it, although
    it was healed."""
    result = fault.to_dict() | {"out": {name: row["outcome"] for name, row in found.items()}}
    stained = [name for name, row in found.items() if row.get("stained")]
    if stained:
        result["stained"] = stained
    if fault.id % CLEAN_EVERY == 0:
        result["clean"] = {name: row["clean"] for name, row in found.items() if "clean" in row}
    return result


def lost(item: tuple[Planned, str], how: str) -> dict[str, Any]:
    """The result of a trial that ended its process."""
    return {"outcome": Outcome(DUE, error=how).to_dict()}


def _sound(first: Answer, second: Answer, preset: str, number: int) -> None:
    """FaultError where clean runs differ, alarm or fail: then nothing can be measured here."""
    if first.error or second.error:
        raise FaultError(f"preset {preset}, input {number}: expected a clean run; found {first.error or second.error}")
    if first.findings or second.findings:
        f = (first.findings or second.findings)[0]
        raise FaultError(f"preset {preset}, input {number}: expected no finding in a clean run; found {f.check} at step {f.step}, node "
                         f"'{f.node}': a false alarm, or this machine is at fault", (f,))
    if first.bits != second.bits:
        raise FaultError(f"preset {preset}, input {number}: expected the same outputs from two clean runs; found different ones")
