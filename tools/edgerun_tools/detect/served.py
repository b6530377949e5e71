"""The server's part twice: in PyTorch for gradients, and in edgerun's engine for answers, which is what the server gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from edgerun import Session
from edgerun_tools.detect.tail import TorchTail

Array = np.ndarray[Any, Any]
BATCH = 50


class ServedTail(TorchTail):
    """A `TorchTail` whose answers without gradients come from a session of one thread, several times as fast."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Raises ModelError where either cannot run it."""
        super().__init__(model)
        self._session = Session(model.SerializeToString(), threads=1, checks="off", nonfinite="allow", outputs=(self.outputs[-1],))

    def scores(self, x: Array, batch: int = BATCH) -> Array:
        """Logits float32 [n, classes] of the last output for features float32 [n, …]."""
        parts = [self._session.run({self.input: np.ascontiguousarray(x[i:i + batch])}).outputs[self.outputs[-1]]
                 for i in range(0, len(x), batch)]
        return np.concatenate(parts)

    def predict(self, x: Array, batch: int = BATCH) -> Array:
        """Classes int64 [n]."""
        return self.scores(x, batch).argmax(1)
