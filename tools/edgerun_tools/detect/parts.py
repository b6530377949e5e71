"""A split model on disk, and the features that its head makes of a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgerun import Session
from edgerun.errors import DataError, OptionError
from edgerun.splits import Manifest
from edgerun_tools import quantize_data
from edgerun_tools.detect.features_of import Features
from edgerun_tools.detect.served import ServedTail

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Split:
    """A folder that `edgerun split` wrote. tensor: the one that travels; exits: the head's, first to last."""

    folder: Path
    manifest: Manifest
    tensor: str

    @classmethod
    def read(cls, folder: str | Path) -> Split:
        """Raises ModelError; OptionError where more than one tensor travels, or one that is not float32."""
        manifest = Manifest.read(folder)
        sent = manifest.tensors
        if len(sent) != 1 or sent[0]["dtype"] != "float32":
            found = ", ".join(f"{t['name']} {t['dtype']}" for t in sent)
            raise OptionError(f"{folder}: expected a split where one float32 tensor travels; found {found}")
        return cls(Path(folder), manifest, str(sent[0]["name"]))

    @property
    def exits(self) -> tuple[str, ...]:
        return self.manifest.head.exits

    def tail(self) -> ServedTail:
        """The tail, with gradients. UnsupportedOpError for operators that training knows no form of."""
        return ServedTail(onnx.load(self.folder / self.manifest.tail.file))

    def features(self, data: str, part: str, limit: int | None, tick: Callable[[int, int], object] = lambda *_: None) -> Features:
        """What the head sends for the inputs of a set, in an order shuffled by a fixed seed (sets are often sorted by class); labels are
        not looked at (0). Raises DataError, InputError."""
        with Session(self.folder / self.manifest.head.file, exit_policy="none", checks="off") as head:
            rows = quantize_data.load(head, data, part, limit)
            order = np.random.default_rng(0).permutation(len(rows))
            x, exits = [], []
            for done, i in enumerate(order):
                out = head.run(rows[int(i)]).outputs
                x.append(out[self.tensor])
                exits.append([out[e][0] for e in self.exits])
                tick(done + 1, len(order))
        if not x:
            raise DataError(f"{data}: expected inputs of {self.manifest.model}; found none")
        scored = np.array(exits, np.float32) if self.exits else np.zeros((len(x), 0, 0), np.float32)
        return Features(np.concatenate(x), np.zeros(len(x), np.int64), scored)
