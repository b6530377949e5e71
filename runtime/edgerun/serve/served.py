"""One model of a server: its sessions (one a worker), what it takes, and its detector."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerun.errors import ModelError, ModelFormatError, ModelNotFoundError, OptionError, SignatureError
from edgerun.result import Result
from edgerun.serve.judge import Judge
from edgerun.serve.oip import NAMES, Array
from edgerun.serve.settings import ModelOptions, ServeLimits
from edgerun.session import Session
from edgerun.splits.manifest import NAME as SPLIT_PAGE
from edgerun.splits.manifest import Manifest

DETECTOR = "detector.onnx"
"""Name of the detector in the folder of a split model."""
ENVELOPE_BYTES = 4 << 10
"""Room for JSON or protobuf around the tensors."""
JSON_NUMBER = 28
"""Characters of a number in JSON, at most: -1.7976931348623157e+308 and a separator."""
Verify = Callable[[Path], Mapping[Path, str]]
"""Called with the file or folder before anything of it is read (edgerun.serve.signing.Verifier): files -> SHA-256 that may be read. Raises
SignatureError where it is not to be trusted."""


@dataclass(frozen=True)
class Run:
    """What a worker did. score: of the detector, None without one; result: None where the detector's alarm withholds the answer."""

    result: Result | None
    score: Any
    seconds: float


class Served:
    """A plain ONNX file, or a folder of `edgerun split`, whose tail is run. Raises ModelError, OptionError; RuntimeError never.

    detector: path of a detector's ONNX file; None: detector.onnx in the folder, if there is one. verify: see `Verify`."""

    def __init__(self, path: str | Path, name: str | None = None, version: str = "1", *, options: ModelOptions | None = None,
                 limits: ServeLimits | None = None, workers: int = 1, detector: str | Path | None = None,
                 verify: Verify | None = None) -> None:
        self.options, self.limits = options or ModelOptions(), limits or ServeLimits()
        self.path, self.version = Path(path), version
        signed = None if verify is None else verify(self.path)
        self.split = Manifest.read(self.path) if (self.path / SPLIT_PAGE).is_file() else None
        self.file = self.path / self.split.tail.file if self.split else self.path
        self.name = name or (self.path.resolve().name if self.split else self.path.stem)
        blob = _bytes_of(self.file)
        self.sha256 = _signed(self.file, blob, signed)
        if self.split and self.sha256 != self.split.tail.sha256:
            raise ModelFormatError(f"{self.file}: expected sha256 {self.split.tail.sha256[:12]}…; found {self.sha256[:12]}…")
        self.sessions = [self._session(blob) for _ in range(workers)]
        first = self.sessions[0]
        self.inputs, self.outputs, self.labels, self.exits = first.inputs, first.outputs, tuple(first.labels), tuple(first.exits)
        for t in (*self.inputs, *self.outputs):
            if t.dtype not in NAMES:
                raise ModelFormatError(f"{self.file}: {t}: expected a type that the protocol has ({', '.join(NAMES.values())})")
        self.fixed = {i.name: i.shape for i in first.fixed_inputs}
        found = Path(detector) if detector else self.path / DETECTOR
        self.detectors = self._detectors(found, workers, signed, verify) if detector or (self.split and found.is_file()) else []
        self.healthy = False
        self.trouble = "not tested yet"
        self.scrubbed = 0.0

    def _session(self, blob: bytes) -> Session:
        o = self.options
        on_fault = None if o.checks == "off" else o.on_fault
        return Session(blob, labels=o.labels, exit_policy=o.exit_policy, checks=o.checks, on_fault=on_fault, threads=o.threads,
                       **{"plan_cache": max(8, self.limits.batch), **o.session})

    def _detectors(self, path: Path, workers: int, signed: Mapping[Path, str] | None, verify: Verify | None) -> list[Judge]:
        blob = _bytes_of(path)
        _signed(path, blob, verify(path) if verify is not None and path not in (signed or {}) else signed)
        if len(self.inputs) != 1:
            raise OptionError(f"{path}: a detector judges one tensor; the model takes {', '.join(i.name for i in self.inputs)}")
        return [Judge(blob, str(path), self.options.fpr, self.sha256) for _ in range(workers)]

    # -- what may come ------------------------------------------------------------------------------------------------

    def most_bytes(self, json: bool) -> int:
        """Bytes of the largest legal body. json: of one whose tensors are written as numbers in JSON."""
        if self.limits.body is not None:
            return self.limits.body
        total = 0
        for i in self.inputs:
            sizes = [d if isinstance(d, int) else self.limits.batch if k == 0 else None for k, d in enumerate(i.shape)]
            if None in sizes:
                return self.limits.dynamic_body
            total += math.prod(s for s in sizes if s is not None) * (JSON_NUMBER if json else i.dtype.itemsize)
        return total + ENVELOPE_BYTES

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self, worker: int, feeds: dict[str, Array], exit_scores: Array | None = None) -> Run:
        """Detector, then model, in the calling thread; feeds have been checked. Raises what `Session.run` raises."""
        started = time.perf_counter()
        judge = self.detectors[worker] if self.detectors else None
        refuses = self.options.on_attack == "refuse"
        score, result = None, None
        if judge is not None and self.options.judge == "before":
            score = judge.score(feeds[self.inputs[0].name], exit_scores, None)
        if score is None or not (score.attack and refuses):
            result = self.sessions[worker].run(feeds)
            if judge is not None and score is None:
                score = judge.score(feeds[self.inputs[0].name], exit_scores, self._answer(result))
                result = None if score.attack and refuses else result
        return Run(result, score, time.perf_counter() - started)

    def _answer(self, result: Result) -> Array | None:
        """The scores, where the model says which output holds them, or has but one."""
        return result.scores if result.scores is not None or len(result.outputs) != 1 else next(iter(result.outputs.values()))

    def self_test(self) -> None:
        """Run zeros through every session, checks on; sets `healthy`, or `trouble` to why not."""
        shapes = {n: tuple(d if isinstance(d, int) else 1 for d in s) for n, s in self.fixed.items()}
        feeds = {i.name: np.zeros(shapes[i.name], i.dtype) for i in self.inputs}
        try:
            for session in self.sessions:
                result = session.run(feeds)
                if not result.checks.ok:
                    raise ModelError(f"{len(result.checks.findings)} findings in a run on zeros")
        except Exception as e:  # whatever it is, the model is not ready
            self.healthy, self.trouble = False, f"{type(e).__name__}: {e}"
            return
        self.healthy, self.trouble, self.scrubbed = True, "", time.time()

    def scrub(self, worker: int) -> int:
        """Verify all weights of one session now; findings. Any makes the model unhealthy."""
        found = self.sessions[worker].scrub()
        bad = [f for f in found if not f.cured]
        if bad:
            self.healthy, self.trouble = False, f"{len(bad)} damaged weights"
        elif worker == len(self.sessions) - 1:
            self.scrubbed = time.time()
        return len(found)

    def close(self) -> None:
        for session in self.sessions:
            session.close()
        for detector in self.detectors:
            detector.close()


def _signed(path: Path, blob: bytes, signed: Mapping[Path, str] | None) -> str:
    """SHA-256 of what was read from path. SignatureError where it is not what was signed; None: nothing has to be."""
    found = hashlib.sha256(blob).hexdigest()
    if signed is not None and signed.get(path) != found:
        raise SignatureError(f"{path}: expected the file that was signed; found another one")
    return found


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as e:
        raise ModelNotFoundError(f"{path}: expected an ONNX file or a folder of `edgerun split`; found none") from e
    except OSError as e:
        raise ModelFormatError(f"{path}: expected an ONNX file or a folder of `edgerun split`; found: {e.strerror}") from e
