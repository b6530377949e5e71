"""A detector and its rivals on attacked and benign test features under noise."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgerun import Session
from edgerun.detect import MODES, Detector
from edgerun.errors import OptionError
from edgerun_tools.detect import noise
from edgerun_tools.detect.attacks import AttackContext, attack, succeeded, targets
from edgerun_tools.detect.context import BATCH
from edgerun_tools.detect.features_of import Features
from edgerun_tools.detect.measure import Estimate, auroc, share
from edgerun_tools.detect.network import DetectorNet
from edgerun_tools.detect.served import ServedTail
from edgerun_tools.detect.tail import TorchTail

Array = np.ndarray[Any, Any]
Scorer = Callable[[Array, Array | None, Array], Array]
"""(features, exit scores, tail scores) -> values float64 [n]."""
RATE = 0.05
SEED = 77


@dataclass(frozen=True)
class Row:
    """One attack under one strength of noise, seen by one detector. turned: share of messages that reached the attack's goal after the
    noise. auroc_turned: of these alone (None where there were fewer than 20)."""

    attack: str
    strength: str
    detector: str
    turned: float
    auroc: Estimate
    tpr: Estimate
    auroc_turned: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Bench:
    """What an entry of the table needs. test: features that nothing was trained or calibrated on; the first `attacked` of them are
    attacked, the first `benign` are compared with, those behind are what the attacker intercepted. reference: of benign features, which
    gives noise its strength. net: the detector as the adaptive attacker has it, None where that attack is not made."""

    tail: ServedTail
    test: Features
    reference: noise.Reference
    benign: int
    attacked: int
    budget: float = 1.0
    net: DetectorNet | None = None

    def __post_init__(self) -> None:
        self.exits = self.test.exits[:, -1] if self.test.exits.shape[1] else None
        self.answered = self.tail.predict(self.test.x[:self.attacked])
        classes = self._answers(self.test.x[:1]).shape[1]
        self.wanted = targets(self.answered, classes, np.random.default_rng(SEED))
        self.context = AttackContext.of(self.tail, self.test.x[self.benign:], budget=self.budget)

    def make(self, name: str, cache: Path | None = None, key: str = "") -> Array:
        """Attacked features, from `cache` where they were made before under this `key`."""
        said = hashlib.sha256(repr((key, name, self.attacked, self.benign, self.budget, SEED)).encode()).hexdigest()[:16]
        file = None if cache is None else cache / f"attack-{name}-{said}.npy"
        if file is not None and file.exists():
            return np.load(file)
        rng, x = np.random.default_rng(SEED + 1), self.test.x[:self.attacked]
        if name == "adaptive":
            if self.net is None:
                raise OptionError("adaptive attack: expected the detector as a network in PyTorch; found none")
            parts = []
            for i in range(0, len(x), BATCH):
                sent = None if self.exits is None else torch.from_numpy(self.exits[i:i + BATCH][:len(x) - i])
                knows = replace(self.context, score=suspicion(self.net, self.tail, sent))
                parts.append(attack(name)(knows, x[i:i + BATCH], self.wanted[i:i + BATCH], rng))
            found = np.concatenate(parts)
        else:
            found = attack(name)(self.context, x, self.wanted, rng)
        if file is not None:
            partial = file.with_suffix(".tmp")
            with partial.open("wb") as out:
                np.save(out, found)
            partial.replace(file)
        return found

    def rows(self, names: Sequence[str], scorers: Mapping[str, Scorer], made: Callable[[str], Array],
             strengths: Sequence[str] = noise.STRENGTHS, kinds: Sequence[str] = noise.TRAINED,
             tick: Callable[[str], object] = lambda _: None) -> list[Row]:
        """Every attack, strength and detector. Benign and attacked messages meet the same noise, drawn anew for each."""
        rng, found = np.random.default_rng(SEED + 2), []
        for strength in strengths:
            benign = self._seen(self.test.x[:self.benign], strength, kinds, rng)
            usual = {n: s(benign, self._sent(self.benign), self._answers(benign)) for n, s in scorers.items()}
            for name in names:
                x = self._seen(made(name), strength, kinds, rng)
                turned = succeeded(self.context, name, x, self.answered, self.wanted)
                answers, sent = self._answers(x), self._sent(self.attacked)
                for detector, scorer in scorers.items():
                    value, line = scorer(x, sent, answers), np.quantile(usual[detector], 1 - RATE)
                    some = auroc(usual[detector], value[turned]) if turned.sum() >= 20 else None
                    found.append(Row(name, strength, detector, float(turned.mean()), auroc(usual[detector], value), share(value > line),
                                     some))
                tick(f"{strength}, {name}")
        return found

    def false_alarms(self, scorers: Mapping[str, Scorer], lines: Mapping[str, float]) -> list[dict[str, Any]]:
        """Benign test messages above the thresholds `lines` per detector, kind of noise (held-out ones, too) and strength."""
        rng = np.random.default_rng(SEED + 3)
        found: list[dict[str, Any]] = []
        for kind in (*noise.TRAINED, *noise.HELD_OUT):
            for strength in noise.STRENGTHS:
                if strength == "none" and found:  # whatever the kind
                    found += [r | {"kind": kind, "held_out": kind in noise.HELD_OUT} for r in found[:len(lines)]]
                    continue
                x = noise.apply(self.test.x, kind, strength, self.reference, rng)
                answers = self._answers(x)
                for name, line in lines.items():
                    above = scorers[name](x, self.exits, answers) > line
                    found.append({"kind": kind, "strength": strength, "mode": name, "hits": int(above.sum()), "of": len(above),
                                  "held_out": kind in noise.HELD_OUT})
        return found

    def _seen(self, x: Array, strength: str, kinds: Sequence[str], rng: np.random.Generator) -> Array:
        return noise.mixture(x, self.reference, rng, kinds, (strength,))

    def _sent(self, count: int) -> Array | None:
        return None if self.exits is None else self.exits[:count]

    def _answers(self, x: Array) -> Array:
        return self.tail.scores(x)


def of_net(net: DetectorNet, modes: Sequence[str]) -> dict[str, Scorer]:
    """The detector in some of its modes, run by PyTorch."""
    def scorer(mode: str) -> Scorer:
        column = MODES.index(mode)
        return lambda x, e, t: net.run(x, e if column % 2 else None, t if column > 1 else None)[0][:, column].astype(np.float64)
    return {m: scorer(m) for m in modes}


def of_file(detector: Detector) -> dict[str, Scorer]:
    """The detector in all of its modes, run by edgerun."""
    def scorer(mode: str) -> Scorer:
        column = MODES.index(mode)
        return lambda x, e, t: detector.scores(x, e if column % 2 else None, t if column > 1 else None)
    return {m: scorer(m) for m in detector.about.thresholds}


def suspicion(net: DetectorNet, tail: TorchTail, exits: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The detector's score of features [n, …] as a differentiable function, the exit's scores being those of these messages: the
    divergence that it hangs on added, as the score has no slope where it is 0."""
    mode = 2 if exits is None else 3

    def score(x: Tensor) -> Tensor:
        sent = torch.zeros(len(x), net.classes) if exits is None else exits
        scores, parts = net(x, sent, tail.logits(x))
        return scores[:, mode] + parts[:, mode]
    return score


def latency(detector: bytes, tail: bytes, x: Array, exits: Array | None, answers: Array, rounds: int = 1000) -> dict[str, float]:
    """Microseconds on one thread, median and least of `rounds` calls in turns: `Detector.score` and the tail's `Session.run`."""
    times: dict[str, list[float]] = {"detector": [], "tail": []}
    messages = [(x[i:i + 1], None if exits is None else exits[i], answers[i]) for i in range(len(x))]
    with Detector(detector) as found, Session(tail, threads=1) as session:
        feeds = [{session.inputs[0].name: m[0]} for m in messages]
        found.score(*messages[0])  # makes the plan
        for k in range(rounds):
            message, feed = messages[k % len(x)], feeds[k % len(x)]
            start = time.perf_counter()
            found.score(*message)
            middle = time.perf_counter()
            session.run(feed)
            times["detector"].append(1e6 * (middle - start))
            times["tail"].append(1e6 * (time.perf_counter() - middle))
    out = {f"{n}_us": float(np.median(t)) for n, t in times.items()} | {f"{n}_least_us": min(t) for n, t in times.items()}
    return out | {"share": out["detector_us"] / out["tail_us"], "share_least": out["detector_least_us"] / out["tail_least_us"]}
