"""The C kernels' files (`edgerun_kernels/c`), and the order in which a program needs them: each once, what it stands on first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from edgerun_tools.codegen.checks.asked import SWITCHES

_OWN = re.compile(r'^#include "([^"]+)"\n', re.MULTILINE)
_SYSTEM = re.compile(r"^[ ]*#include (<[^>]+>)\n", re.MULTILINE)
_OF_A_CORE = frozenset({"<arm_acle.h>", "<arm_mve.h>", "<avr/pgmspace.h>"})
"""Headers that only one kind of core has; their includes stay where they are."""
_CONDITION = re.compile(rf"#if ({'|'.join(SWITCHES)})$")
Switches = Mapping[str, bool]
"""Which of checks/asked.py's SWITCHES are on; those that are not named are off."""


@cache
def text(name: str) -> str:
    """One file, as it is."""
    return (files("edgerun_kernels") / "c" / name).read_text(encoding="utf-8")


def settled(name: str, on: Switches) -> str:
    """One file with its switches settled: without checks there is no trace of them."""
    kept: list[str] = []
    open_: list[bool | None] = []  # whether lines are kept; None: a condition of the compiler's
    for line in text(name).splitlines(keepends=True):
        word = line.strip()
        if (found := _CONDITION.match(word)) is not None:
            open_.append(on.get(found[1], False))
        elif word.startswith("#if"):
            open_.append(None)
            kept.append(line if False not in open_ else "")
        elif word in ("#else", "#endif") and open_[-1] is not None:
            open_[-1] = not open_[-1]
            if word == "#endif":
                open_.pop()
        else:
            kept.append(line if False not in open_ else "")
            if word == "#endif":
                open_.pop()
    return "".join(kept)


def needed(names: Iterable[str], on: Switches) -> list[str]:
    """The files and all that they include, in an order in which each finds what it needs."""
    done: list[str] = []

    def add(name: str) -> None:
        if name not in done:
            for other in _OWN.findall(settled(name, on)):
                add(other)
            done.append(name)

    for name in names:
        add(name)
    return done


def system_headers(names: Iterable[str]) -> list[str]:
    """The headers of the C library that files include whatever the core is."""
    found = {h for n in names for h in re.findall(r"^#include (<[^>]+>)$", text(n), re.MULTILINE) if h not in _OF_A_CORE}
    return sorted(found)


def body(name: str, on: Switches) -> str:
    """A file without its includes, for one source that has them at its head (those for one kind of core stay)."""
    kept = _OWN.sub("", settled(name, on))
    return _SYSTEM.sub(lambda m: m.group(0) if m.group(1) in _OF_A_CORE else "", kept).strip() + "\n"
