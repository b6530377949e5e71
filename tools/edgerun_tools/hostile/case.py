"""What a hostile case is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

Array = np.ndarray[Any, Any]
Build = Callable[[Path], Path]
Oracle = Callable[[Mapping[str, Array]], Sequence[Array]]
Expected = Literal["error", "runs", "either"]
Content = Callable[[], "onnx.ModelProto | bytes"]


class Skip(Exception):
    """This machine cannot build the case; the text says why."""


@dataclass(frozen=True)
class Case:
    """One hostile file.

    name      unique, lower case with hyphens
    family    the kind of attack
    what      one sentence: what is wrong with the file
    build     writes the file(s) into an empty folder and returns the path of the model, absolute or relative to the
              folder (which is then the working directory); raises Skip where the system cannot make them
    expected  "error": only a typed error is right; "runs": only the right answer is; "either": one of the two
    oracle    feeds {input: array} → the right outputs in the model's order; needed unless "error" is expected
    """

    name: str
    family: str
    what: str
    build: Build
    expected: Expected = "error"
    oracle: Oracle | None = None

    def __post_init__(self) -> None:
        if (self.expected == "error") == (self.oracle is not None):
            raise ValueError(f"case {self.name}: expected an oracle where a run may be right, and only there; found "
                             f"{self.expected!r} {'with' if self.oracle else 'without'} one")


@dataclass(frozen=True)
class Family:
    """Makes the cases of one family whose model is a single file."""

    name: str

    def error(self, name: str, what: str, content: Content) -> Case:
        """A file that must be refused."""
        return Case(name, self.name, what, _written(content))

    def either(self, name: str, what: str, content: Content, oracle: Oracle) -> Case:
        """A file that may be refused or run."""
        return Case(name, self.name, what, _written(content), "either", oracle)

    def runs(self, name: str, what: str, content: Content, oracle: Oracle) -> Case:
        """A file that must run."""
        return Case(name, self.name, what, _written(content), "runs", oracle)


def _written(content: Content) -> Build:
    def build(folder: Path) -> Path:
        path, made = folder / "model.onnx", content()
        path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        return path

    return build


def relu(feeds: Mapping[str, Array]) -> list[Array]:
    """The right answer of many cases: max(x, 0)."""
    return [np.maximum(feeds["x"], 0)]


def counted(feeds: Mapping[str, Array]) -> list[Array]:
    """The right answer of models that add a weight of 1, 2, 3, 4."""
    return [feeds["x"] + np.array([1, 2, 3, 4], np.float32)]


def same(feeds: Mapping[str, Array]) -> list[Array]:
    """The right answer of a model that hands its input on."""
    return [feeds["x"]]
