"""What `calibrate` and `eval` share: labelled images as tensors, records of all exits, timing of each exit, the static net."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgerun import Session
from edgerun.errors import DataError, PolicyError
from edgerun.exits.difficulty import DifficultyConfig, components
from edgerun.exits.records import Records
from edgerun.preprocess import Preprocess
from edgerun_tools import data as sets
from edgerun_tools.common import errors

PARTS = ("all", "train", "calibration", "test")
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Labelled:
    """Images uint8 (array [N,H,W,C], or list of [H,W,C]), labels [N], the digest of both, and where they came from."""

    images: sets.Images
    labels: np.ndarray
    sha256: str
    source: str

    def __len__(self) -> int:
        return len(self.labels)


def load(spec: str, part: str = "all", limit: int | None = None) -> Labelled:
    """Read what `--data` names. part: one of this project's fixed splits of MNIST or CIFAR-10 (`edgerun_tools.data`);
    limit: only that many images, spread evenly. DataError says what was expected and found."""
    if part not in PARTS:
        raise DataError(f"--part: expected one of {', '.join(PARTS)}; found {part!r}")
    x, y, _ = sets.load(spec)
    index = np.arange(len(y))
    if part != "all":
        index = _part(x, part, spec)
    if limit is not None and limit < len(index):
        index = index[np.linspace(0, len(index) - 1, limit).astype(int)]
    images = x[index] if isinstance(x, np.ndarray) else [x[i] for i in index]
    digest = hashlib.sha256(np.ascontiguousarray(y[index]).tobytes())
    for image in images:
        digest.update(np.ascontiguousarray(image).tobytes())
    return Labelled(images, y[index], digest.hexdigest(), Path(spec).name + ("" if part == "all" else f", part {part}"))


def _part(x: sets.Images, part: str, spec: str) -> np.ndarray:
    shape = x.shape if isinstance(x, np.ndarray) else ()
    if shape == (10000, 28, 28, 1):
        return np.arange(10000)[sets.mnist_split(part)]
    if shape == (50000, 32, 32, 3) and part in ("train", "calibration"):
        return sets.cifar_split(50000)[part == "calibration"]
    raise DataError(f"--part {part}: expected the 10,000 MNIST images, or (train, calibration) the 50,000 CIFAR-10 training "
                    f"images; found {spec} with {list(shape) or f'{len(x)} images of several sizes'}; leave --part away")


class Tensors:
    """The images as the model's input tensors, made when asked for: `tensors[i]` is float32 [1,…]."""

    def __init__(self, session: Session, data: Labelled) -> None:
        if len(session.inputs) != 1:
            raise DataError(f"{session.name}: expected a model with one image input, found {len(session.inputs)} inputs")
        self.recipe: Preprocess | None = session.preprocess
        if self.recipe is None:
            raise DataError(f"{session.name}: expected metadata edgerun.preprocess that says how images become "
                            f"{session.inputs[0]}, found none")
        self.data = data
        classes = len(session.labels) or None
        if classes is not None and int(data.labels.max()) >= classes:
            raise DataError(f"{data.source}: expected labels below {classes} (the model's classes), found "
                            f"{int(data.labels.max())}")

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> np.ndarray:
        assert self.recipe is not None
        return np.asarray(self.recipe.apply(self.data.images[i]))


class Pixels:
    """The images as the difficulty estimate sees them: float32 [n,H,W,C] in [0,1], after resizing, by slices."""

    dtype = np.dtype(np.float32)
    ndim = 4

    def __init__(self, tensors: Tensors) -> None:
        assert tensors.recipe is not None
        self._tensors, self._recipe = tensors, tensors.recipe
        channels = 1 if self._recipe.color == "L" else 3
        self.shape = (len(tensors), *self._recipe.size, channels)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> np.ndarray:
        r = self._recipe
        x = np.concatenate([self._tensors[i] for i in range(*part.indices(len(self)))])
        x = x.transpose(0, 2, 3, 1) if r.layout == "NCHW" else x
        x = (x * np.asarray(r.std, np.float32) + np.asarray(r.mean, np.float32)) / np.float32(255 * r.scale)
        return np.asarray(x[..., ::-1] if r.color == "BGR" else x)


def require_exits(session: Session) -> None:
    """PolicyError when the model has no early exits."""
    if len(session.exits) < 2:
        raise PolicyError(f"{session.name}: expected a model with early exits (metadata edgerun.exits names at least two "
                          f"outputs in order), found {len(session.exits)}")


def record(session: Session, tensors: Tensors, tick: Tick | None = None) -> np.ndarray:
    """Logits of all exits, float32 [exits,N,classes]. The session's policy must be none. Exits that end in a softmax give
    log-probabilities."""
    rows = []
    logits = [e.logits for e in session.plan.exits]
    for i in range(len(tensors)):
        outputs = session.run(tensors[i]).outputs
        rows.append([outputs[name].reshape(-1) for name in session.exits])
        if tick:
            tick(i + 1, len(tensors))
    out: np.ndarray = np.asarray(rows, np.float32).transpose(1, 0, 2)
    for e, plain in enumerate(logits):
        if not plain:
            out[e] = np.log(np.maximum(out[e], np.finfo(np.float32).tiny))
    return out


def records(logits: np.ndarray, tensors: Tensors, config: DifficultyConfig, costs: np.ndarray) -> Records:
    """Records for the calibration library."""
    raw = components(Pixels(tensors), config.tau_edge)  # type: ignore[arg-type]
    return Records(logits.astype(np.float64), tensors.data.labels, config.alpha(raw), np.asarray(costs, np.float64))


WARM, TIMED = 4, 4
"""Runs of an exit in a row that are not timed, and that are: the caches have to hold its weights again, as they do where
one model serves, after the sessions of the other exits have used them."""


def exit_times(model: str | bytes, tensors: Tensors, threads: int | None, executor: str, checks: str = "maed", *,
               seconds: float = 6.0, tick: Tick | None = None) -> np.ndarray:
    """Nanoseconds of a run that leaves at each exit, [exits], batch 1: the lower quartile of many runs. All exits take turns on
    every image. On a busy machine a long run is interrupted more often than a short one; the lower quartile is what the runs
    take that were left alone."""
    with Session(model, executor=executor, threads=threads, checks=checks) as probe:
        exits = len(probe.exits)
    never, always = 2.0, -1.0
    sessions = [Session(model, executor=executor, threads=threads, checks=checks, exit_policy="confidence",
                        thresholds=tuple([never] * i + [always] * (exits - 1 - i))) for i in range(exits)]
    times: list[list[int]] = [[] for _ in sessions]
    started, rounds = time.perf_counter(), 0
    try:
        while rounds < 5 or (time.perf_counter() - started < seconds and rounds < 2000):
            x = tensors[rounds % len(tensors)]
            for taken, session in enumerate(sessions):
                for repeat in range(WARM + TIMED):
                    before = time.perf_counter_ns()
                    raw = session.run_raw([x])
                    if repeat >= WARM:
                        times[taken].append(time.perf_counter_ns() - before)
                if raw.exit_index != taken:
                    raise PolicyError(f"exit timing: expected a run to leave at exit {taken}, found {raw.exit_index}")
            rounds += 1
            if tick:
                tick(min(int(10 * (time.perf_counter() - started)), int(10 * seconds)), int(10 * seconds))
    finally:
        for session in sessions:
            session.close()
    quiet = np.array([np.percentile(t[2 * TIMED:], 25) for t in times])
    return np.asarray(np.maximum.accumulate(quiet))  # a later exit does all the work of an earlier one


@contextmanager
def bars(show: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A progress display on stderr: call it with (what, done, of). Nothing is drawn when `show` is false."""
    if not show:
        yield lambda what, done, of: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def step(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=of)
            progress.update(tasks[what], completed=done, total=of)

        yield step
