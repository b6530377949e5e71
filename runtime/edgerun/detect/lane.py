"""A session of a detector's file that computes what one mode needs, and reads its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgerun.detect.about import COLUMNS, INPUTS, MODES, TOGETHER, About, output_of
from edgerun.session import Session

Array = np.ndarray[Any, Any]


class Lane:
    """session: of a file with an output for this mode alone (the only one that is computed), or with TOGETHER."""

    def __init__(self, session: Session, about: About, mode: str, threshold: float) -> None:
        self.session, self.mode, self.threshold = session, mode, threshold
        names = [o.name for o in session.outputs]
        self._own = names == [output_of(mode)]
        self._run, self._column = session.light(), MODES.index(mode)
        self._at = [names.index(n) for n in (TOGETHER if not self._own else names)]
        self.parts = COLUMNS[mode] if self._own else about.parts

    def one(self, feeds: Sequence[Array]) -> list[float]:
        """Score and parts of one message; feeds checked, in the order of INPUTS."""
        outputs = self._run(feeds)
        if self._own:
            found: list[float] = outputs[0].tolist()[0]
            return found
        scores, parts = (outputs[k].tolist()[0] for k in self._at)
        return [scores[self._column], *parts]

    def many(self, feeds: Sequence[Array]) -> Array:
        """Scores of many messages, float64 [N]."""
        found = self.session.run(dict(zip(INPUTS, feeds, strict=True))).outputs
        return (found[output_of(self.mode)][:, 0] if self._own else found["scores"][:, self._column]).astype(np.float64)
