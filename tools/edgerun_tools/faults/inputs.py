"""The inputs of a campaign: answered right without faults, balanced by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

import numpy as np

from edgerun import Result, Session
from edgerun.errors import DataError
from edgerun_tools import models_inputs, quantize_data

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Chosen:
    """feeds[k]: one input of the model; labels[k]: its class; tried: how many were looked at; source: the data set's name."""

    feeds: tuple[dict[str, np.ndarray], ...]
    labels: tuple[int, ...]
    tried: int
    source: str

    @property
    def digest(self) -> str:
        """SHA-256 over every input and its label."""
        held = sha256()
        for feeds, label in zip(self.feeds, self.labels, strict=True):
            held.update(f"{label}".encode())
            for name in sorted(feeds):
                held.update(f"{name} {feeds[name].dtype} {feeds[name].shape}".encode() + np.ascontiguousarray(feeds[name]).tobytes())
        return held.hexdigest()


def choose(session: Session, model: str, data: str, count: int, seed: int) -> Chosen:
    """`count` inputs that `session` answers right, classes taking turns; random ones, decided by `seed`.

    data: what `edgerun quantize --data` takes; a set of the data folder is prepared as its INDEX.md says for that model. Where some
    classes have too few right answers the others give more. DataError where there are not enough in all.
    """
    feeds, labels, source = _labelled(session, model, data)
    order = np.random.default_rng(seed).permutation(len(labels))
    waiting = {int(c): [int(i) for i in order if labels[i] == c] for c in sorted(set(labels.tolist()))}
    taken: list[tuple[dict[str, np.ndarray], int]] = []
    tried = 0
    while len(taken) < count and waiting:
        for label in list(waiting):
            while waiting[label] and len(taken) < count:
                candidate = dict(feeds(waiting[label].pop(0)))
                tried += 1
                if decision(session.run(candidate)) == label:
                    taken.append((candidate, label))
                    break
            if not waiting[label]:
                del waiting[label]
    if len(taken) < count:
        raise DataError(f"{source}: expected {count} inputs that {session.name} answers right; found {len(taken)} of {tried}; give "
                        "--inputs a smaller number, or other data")
    return Chosen(tuple(f for f, _ in taken), tuple(n for _, n in taken), tried, source)


def decision(result: Result) -> int:
    """The class that was answered; -1 where a score is not finite: then nothing was decided."""
    flat = scores_of(result).reshape(-1)
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        return -1
    return int(flat.argmax())


def scores_of(result: Result) -> np.ndarray:
    """What the answer is taken from: the output that holds scores where the model says so, else the first one."""
    return result.scores if result.scores is not None else next(iter(result.outputs.values()))


def balance(chosen: Chosen) -> dict[str, int]:
    """Inputs of each class, by its number."""
    return {str(k): n for k, n in sorted(Counter(chosen.labels).items())}


def known(session: Session, model: str, data: str) -> models_inputs.Inputs | None:
    """How this project feeds the model with a set of the data folder, where the model itself does not say."""
    path = Path(data)
    listed = any(fnmatch(Path(model).stem, r.pattern) and r.set == path.name for r in models_inputs.RECIPES)
    if session.preprocess is not None or not listed or path.parent.name != "sets":
        return None
    return models_inputs.inputs_of(Path(model).stem, session, path.parent.parent)


def _labelled(session: Session, model: str, data: str) -> tuple[Callable[[int], Feeds], np.ndarray, str]:
    held = known(session, model, data)
    if held is not None and held.labels is not None:
        return held.feeds, held.labels, held.what
    rows = quantize_data.load(session, data, labelled=True)
    if rows.labels is None:
        raise DataError(f"{rows.source}: expected labels; found none: a campaign wants inputs that are answered right")
    return rows.__getitem__, rows.labels, rows.source
