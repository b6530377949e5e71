"""The C kernels' files (`edgerun_kernels/c`), and the order in which a program needs them: each once, what it stands on first."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

_OWN = re.compile(r'^#include "([^"]+)"\n', re.MULTILINE)
_SYSTEM = re.compile(r"^[ ]*#include (<[^>]+>)\n", re.MULTILINE)


@cache
def text(name: str) -> str:
    """One file, as it is."""
    return (files("edgerun_kernels") / "c" / name).read_text(encoding="utf-8")


def needed(names: Iterable[str]) -> list[str]:
    """The files and all that they include, in an order in which each finds what it needs."""
    done: list[str] = []

    def add(name: str) -> None:
        if name not in done:
            for other in _OWN.findall(text(name)):
                add(other)
            done.append(name)

    for name in names:
        add(name)
    return done


def system_headers(names: Iterable[str]) -> list[str]:
    """The headers of the C library that files include whatever the core is."""
    found = {h for n in names for h in re.findall(r"^#include (<[^>]+>)$", text(n), re.MULTILINE) if h != "<arm_acle.h>"}
    return sorted(found)


def body(name: str) -> str:
    """A file without its includes, for one source that has them at its head (those for one kind of core stay)."""
    kept = _OWN.sub("", text(name))
    return _SYSTEM.sub(lambda m: m.group(0) if m.group(1) == "<arm_acle.h>" else "", kept).strip() + "\n"
