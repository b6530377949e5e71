"""firmware.json: what a folder of C has in it, so that a harness can be made around any function. Schema "edgerun.firmware/1".

```
{"schema": "edgerun.firmware/1", "prefix": "kws", "target": "cortex-m4",
 "sources": ["kws.c"], "header": "kws.h",
 "run": {"symbol": "kws_run", "returns": "int", "arguments": ["inputs", "outputs", "report"]},
 "report": {"type": "kws_report", "fields": ["exit_taken", "checks_passed", …]},
 "selftest": "kws_selftest",
 "inputs": [{"name": "audio", "dtype": "int8", "shape": [1, 49, 10, 1]}],
 "outputs": [{"name": "scores", "dtype": "int8", "shape": [1, 12]}]}
```

`header`, `report`, `selftest` may be null: without a header the harness declares the function itself, with void pointers, which fits C
that others generate. Optional: `defines`, `includes`, `flags` (compiler), `symbols` {role: static object}, and for reports `exits`,
`macs`, `arena_bytes`, `steps`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgerun_tools.boards.errors import FirmwareError

NAME = "firmware.json"
SCHEMA = "edgerun.firmware/1"
C_TYPES = {"float32": "float", "float64": "double", "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t",
           "int32": "int32_t", "uint32": "uint32_t", "int64": "int64_t", "uint64": "uint64_t", "bool": "_Bool"}
GROUPS = ("inputs", "outputs", "report")
MOST_FIELDS = 16
"""BOARD_MOST_FIELDS of boards/c/harness.h."""
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Tensor:
    """An argument of the function: a contiguous array in C order. shape in elements."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * self.dtype.itemsize


@dataclass(frozen=True)
class Firmware:
    """A folder and what its firmware.json says of it."""

    folder: Path
    prefix: str
    sources: tuple[str, ...]
    header: str | None
    symbol: str
    returns: str
    arguments: tuple[str, ...]
    report_type: str | None
    report_fields: tuple[str, ...]
    selftest: str | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    defines: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The whole manifest."""


def read(folder: str | Path) -> Firmware:
    """The firmware in a folder; FirmwareError says which entry of firmware.json is missing or wrong."""
    path = Path(folder) / NAME
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise FirmwareError(f"{path}: expected the manifest that `edgerun codegen` writes; found: {e}") from e
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        raise FirmwareError(f"{path}: expected schema {SCHEMA!r}; found {facts.get('schema') if isinstance(facts, dict) else facts!r}")
    try:
        found = _firmware(Path(folder), facts)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise FirmwareError(f"{path}: expected the entries of {SCHEMA} (docs/boards.md); found {type(e).__name__}: {e}") from e
    _check(found, path)
    return found


def _firmware(folder: Path, facts: dict[str, Any]) -> Firmware:
    run, report = facts["run"], facts.get("report") or {}
    given = [k for k in GROUPS if k != "report" or report]
    return Firmware(
        folder, facts["prefix"], _texts(facts["sources"]), facts.get("header"), run["symbol"], run.get("returns", "int"),
        _texts(run.get("arguments", given)), report.get("type"), _texts(report.get("fields", ())), facts.get("selftest"),
        _tensors(facts["inputs"]), _tensors(facts["outputs"]), _texts(facts.get("defines", ())), _texts(facts.get("includes", ())),
        _texts(facts.get("flags", ())), facts)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(v, str) for v in value):
        raise TypeError(f"expected a list of texts, found {value!r}")
    return tuple(value)


def _tensors(value: Any) -> tuple[Tensor, ...]:
    for t in value:
        if t["dtype"] not in C_TYPES:  # not left to NumPy, for which "i8" is int64
            raise ValueError(f"tensor {t['name']}: dtype {t['dtype']!r}, which is none of {', '.join(C_TYPES)}")
    found = tuple(Tensor(str(t["name"]), np.dtype(t["dtype"]), tuple(int(d) for d in t["shape"])) for t in value)
    for t in found:
        if any(d < 0 for d in t.shape):
            raise ValueError(f"tensor {t.name}: shape {list(t.shape)}")
    return found


def _check(found: Firmware, path: Path) -> None:
    """What would otherwise come back as an error of the compiler in a file that the user never wrote."""
    names = [found.symbol, *found.report_fields, *(n for n in (found.report_type, found.selftest) if n is not None)]
    wrong = [n for n in names if not _IDENTIFIER.match(n)]
    missing = [s for s in (*found.sources, *([found.header] if found.header else [])) if not (found.folder / s).is_file()]
    if wrong or missing:
        raise FirmwareError(f"{path}: expected C names and files of the folder; found {', '.join(map(repr, wrong + missing))}")
    if found.returns not in ("int", "void") or not set(found.arguments) <= set(GROUPS) or not found.sources:
        raise FirmwareError(f"{path}: expected run.returns int or void, run.arguments of {', '.join(GROUPS)}, and sources; found "
                            f"{found.returns!r}, {list(found.arguments)}, {len(found.sources)} sources")
    if "report" in found.arguments and found.header is None:
        raise FirmwareError(f"{path}: expected a header, which defines the type of the report; found none")
    if len(found.report_fields) > MOST_FIELDS:
        raise FirmwareError(f"{path}: expected at most {MOST_FIELDS} fields in the report; found {len(found.report_fields)}")
