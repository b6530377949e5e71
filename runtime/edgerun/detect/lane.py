"""A session of a detector's file that computes what one mode needs, and reads its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgerun.detect.about import COLUMNS, INPUTS, MODES, TOGETHER, About, output_of
from edgerun.session import Session

Array = np.ndarray[Any, Any]


class Lane:
    """session: of a file with an output for this mode alone (own; the only one that is computed), or with TOGETHER. run: see
    `Session.light`; feeds in the order of INPUTS. parts: names of what follows the score."""

    def __init__(self, session: Session, about: About, mode: str, threshold: float) -> None:
        self.session, self.mode, self.threshold = session, mode, threshold
        names = [o.name for o in session.outputs]
        self.own = names == [output_of(mode)]
        self.run, self._column = session.light(), MODES.index(mode)
        self._at = [] if self.own else [names.index(n) for n in TOGETHER]
        self.parts = COLUMNS[mode] if self.own else about.parts

    def read(self, outputs: Sequence[Array]) -> list[float]:
        """Score and parts of one message, of a run of a file with TOGETHER."""
        scores, parts = (outputs[k].tolist()[0] for k in self._at)
        return [scores[self._column], *parts]

    def many(self, feeds: Sequence[Array]) -> Array:
        """Scores of many messages, float64 [N]."""
        found = self.session.run(dict(zip(INPUTS, feeds, strict=True))).outputs
        return (found[output_of(self.mode)][:, 0] if self.own else found["scores"][:, self._column]).astype(np.float64)
