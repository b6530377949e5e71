"""Fault models: what is done to the bits that are hit, and one planned fault as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgerun.errors import OptionError

FLOW = {"skip": "a step is not executed", "repeat": "a step is executed twice", "swap": "a step and the next one change places",
        "stop": "the loop of a step ends early", "jump": "execution goes on at another step"}
"""Sites of control flow: here the fault is the site, there are no bits."""
BITS = {"bit": "one bit flips", "adjacent": "two bits beside each other flip", "double": "two bits anywhere in the value flip",
        "word": "every bit of the value flips or stays by chance, at least one flips", "stuck0": "one bit is 0 in every run",
        "stuck1": "one bit is 1 in every run"}
WORST = {"worst": "the weight flips that hurt most, found by search (a bit-flip attack)"}
MODELS = {**BITS, **FLOW, **WORST}
"""Fault model → what happens."""
MIX = ("bit", "adjacent", "bit", "double", "bit", "word", "bit", "stuck0", "bit", "stuck1")
"""The mix of models over the faults of one place: half single bits, and a tenth of each of the others."""
STUCK = {"stuck0": "clear", "stuck1": "set"}
FOREVER = 1 << 30
"""Runs of a permanent fault: until it is healed."""


@dataclass(frozen=True)
class Planned:
    """One fault of a campaign. `input` is the number of the input it meets; `runs` how many runs it lasts (`FOREVER`: until healed).

    id: position in the list. bit: the lowest bit that is hit, -1 where the fault is not one of bits."""

    id: int
    site: str
    step: int
    index: int
    mask: int
    mode: str
    runs: int
    model: str
    bit: int
    input: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, under the names of the fields."""
        return asdict(self)


def mask_of(model: str, bit: int, bits: int, chance: int) -> int:
    """The bits that `model` hits in a value of `bits` bits, beginning with `bit`; `chance` is a large random number."""
    if model in ("bit", *STUCK):
        return 1 << bit
    if model == "adjacent":
        return 3 << bit if bit + 1 < bits else 3 << (bits - 2)
    if model == "double":
        return 1 << bit | 1 << (bit + 1 + chance % (bits - 1)) % bits
    if model == "word":
        return 1 + chance % ((1 << bits) - 1)
    raise ValueError(f"{model} hits no bits")


def choose(names: str | Sequence[str], legal: Sequence[str], what: str) -> tuple[str, ...]:
    """"all" or names separated by commas → names in the order of `legal`. OptionError naming what there is."""
    wanted = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
    if wanted == ["all"]:
        return tuple(legal)
    unknown = [n for n in wanted if n not in legal]
    if unknown or not wanted:
        raise OptionError(f"{what}: expected all, or some of {', '.join(legal)}; found {', '.join(unknown) or 'none'}")
    return tuple(n for n in legal if n in wanted)


def numbered(fault: Planned, number: int) -> Planned:
    """The same fault with another id."""
    return replace(fault, id=number)
