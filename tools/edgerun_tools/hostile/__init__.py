"""A corpus of hostile ONNX files, and the command that runs it: `python -m edgerun_tools.hostile`.

A model file is input from strangers. Every case is one file that must end in a typed error of edgerun, or in a correct
run, within two seconds and 256 MiB above the idle process; no hang, no crash, no other exception. The corpus asks
nothing of other runtimes and compares with none: each case brings its own right answer.

    case       what a case is                            wire, models   how the files are made
    damage … metadata, benign   the cases, by family     warm, subject, runner, report   running and judging them
"""

from __future__ import annotations

from collections import Counter
from functools import cache

from . import (
    attributes,
    benign,
    bombs,
    damage,
    external,
    metadata,
    nesting,
    operands,
    paths,
    quantities,
    structure,
    tensors,
)
from .case import Case, Skip

FAMILIES = (damage, paths, nesting, structure, attributes, operands, tensors, quantities, external, bombs, metadata, benign)

__all__ = ["FAMILIES", "Case", "Skip", "corpus"]


@cache
def corpus() -> dict[str, Case]:
    """All cases by name, in the order of the families."""
    cases = [case for family in FAMILIES for case in family.CASES]
    twice = [name for name, n in Counter(case.name for case in cases).items() if n > 1]
    if twice:
        raise ValueError(f"hostile cases: expected different names; found {', '.join(twice)} more than once")
    return {case.name: case for case in cases}
