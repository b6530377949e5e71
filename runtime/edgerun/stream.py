"""Models that carry state from one call to the next (recurrent audio models): run frame by frame, the state goes along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgerun.errors import InputError, OptionError
from edgerun.feeds import TensorInfo
from edgerun.result import Result


class Stream:
    """`session.stream()`: what the model returns as its new state is fed back with the next frame.

        stream = session.stream()
        for frame in frames:
            clean = stream.run(frame).outputs["clean"]

    The arrays of the state are handed on as they are, never copied here. `pairs`: state input → state output.
    """

    def __init__(self, run: Callable[[dict[str, np.ndarray]], Result], inputs: Sequence[TensorInfo], pairs: Mapping[str, str],
                 initial: Mapping[str, np.ndarray] | None = None) -> None:
        self._run, self._inputs, self.pairs = run, {i.name: i for i in inputs}, dict(pairs)
        self._frame = [i.name for i in inputs if i.name not in pairs]
        self._initial = {name: self._first(self._inputs[name], (initial or {}).get(name)) for name in pairs}
        unknown = sorted(set(initial or {}) - set(pairs))
        if unknown:
            raise OptionError(f"initial: expected state inputs ({', '.join(pairs)}); found {', '.join(unknown)}")
        self._state = dict(self._initial)
        self.frames = 0

    @staticmethod
    def _first(info: TensorInfo, given: np.ndarray | None) -> np.ndarray:
        if given is not None:
            return np.ascontiguousarray(given, info.dtype)
        if not info.fixed:
            raise OptionError(f"initial: expected an array for {info}, whose shape is not fixed; give initial={{name: array}} or "
                              "the option shapes")
        return np.zeros(info.shape, info.dtype)  # type: ignore[arg-type]

    def run(self, frame: Any) -> Result:
        """One frame: an array where the model has one input besides its state, else {name: array}. The result has the
        model's outputs, the new state included. Raises InputError."""
        if isinstance(frame, Mapping):
            feeds = dict(frame)
        elif len(self._frame) == 1:
            feeds = {self._frame[0]: frame}
        else:
            raise InputError(f"stream: expected {{name: array}} for {', '.join(self._frame) or 'no inputs'}; found "
                             f"{type(frame).__name__}")
        given = sorted(set(feeds) & set(self.pairs))
        if given:
            raise InputError(f"stream: expected {', '.join(self._frame)}; found {', '.join(given)}, which is state: set it with "
                             "`stream.state = {…}`")
        result = self._run({**self._state, **feeds})
        self._state = {name: result.outputs[output] for name, output in self.pairs.items()}
        self.frames += 1
        return result

    def reset(self) -> None:
        """Back to the initial state, as before the first frame."""
        self._state, self.frames = dict(self._initial), 0

    @property
    def state(self) -> dict[str, np.ndarray]:
        """The state that the next frame starts from, by input name; a copy, so that it can be kept."""
        return {name: array.copy() for name, array in self._state.items()}

    @state.setter
    def state(self, arrays: Mapping[str, np.ndarray]) -> None:
        if set(arrays) != set(self.pairs):
            raise InputError(f"stream: expected the state {', '.join(self.pairs)}; found {', '.join(arrays) or 'none'}")
        self._state = {name: self._first(self._inputs[name], array) for name, array in arrays.items()}


def pair_states(inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo],
                given: Mapping[str, str] | None) -> dict[str, str]:
    """State input → state output: as given, else found by type and shape.

    Without being told, the first input and the first output are the signal, and every other input whose shape and type some
    other output has is state; several of one shape are paired in their order (h, c → h', c'). Raises OptionError.
    """
    ins, outs = {i.name: i for i in inputs}, {o.name: o for o in outputs}
    if given is not None:
        for name, output in given.items():
            if name not in ins or output not in outs:
                raise OptionError(f"state: expected {{input: output}} of inputs {', '.join(ins)} and outputs {', '.join(outs)}; "
                                  f"found {name!r}: {output!r}")
            if not _fits(ins[name], outs[output]):
                raise OptionError(f"state: expected an output like {ins[name]}; found {outs[output]}")
        return dict(given)
    pairs: dict[str, str] = {}
    for info in inputs[1:]:
        match = next((o.name for o in outputs[1:] if o.name not in pairs.values() and _fits(info, o)), None)
        if match is not None:
            pairs[info.name] = match
    if not pairs:
        raise OptionError(f"state: expected inputs that outputs hand on; found none of one shape and type besides the first "
                          f"(inputs {', '.join(map(str, inputs))}; outputs {', '.join(map(str, outputs))}); name them: "
                          "stream(state={input: output})")
    return pairs


def _fits(one: TensorInfo, other: TensorInfo) -> bool:
    return one.dtype == other.dtype and len(one.shape) == len(other.shape) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in zip(one.shape, other.shape, strict=True))
