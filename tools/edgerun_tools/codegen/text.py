"""Pieces of C text: names, comments, constant arrays."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

C_TYPES = {"f32": "float", "f64": "double", "i8": "int8_t", "u8": "uint8_t", "b8": "uint8_t", "i16": "int16_t", "u16": "uint16_t",
           "i32": "int32_t", "u32": "uint32_t", "i64": "int64_t", "u64": "uint64_t"}
"""Plan dtype → type in C. b8 holds 0 or 1; f16 and bf16 have none."""
NUMPY_TYPES = {"float": np.float32, "int8_t": np.int8, "uint8_t": np.uint8, "int16_t": np.int16, "int32_t": np.int32,
               "uint32_t": np.uint32, "int64_t": np.int64}
_WIDTH = 132
_KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return "
    "short signed sizeof static struct switch typedef union unsigned void volatile while and or not xor asm bool true false class new "
    "delete this template namespace using try catch throw public private protected virtual operator friend export main report "
    "arena".split())


def identifier(name: str, taken: set[str] | None = None) -> str:
    """A C (and C++) name that resembles `name` and is none of `taken`, to which it is added."""
    found = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "tensor"
    if found[0].isdigit() or found in _KEYWORDS:
        found = f"t_{found}"
    unique, k = found, 2
    while taken is not None and unique in taken:
        unique, k = f"{found}_{k}", k + 1
    if taken is not None:
        taken.add(unique)
    return unique


def remark(text: str) -> str:
    """Any text for the inside of a comment: printable ASCII that cannot end it, nor make a trigraph."""
    return re.sub(r"[^\x20-\x7e]", "?", text).replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").replace("\\", "/")


def number(value: Any, c_type: str) -> str:
    """One constant."""
    if c_type == "float":
        v = np.float32(value)
        if not np.isfinite(v):
            return "NAN" if np.isnan(v) else "INFINITY" if v > 0 else "-INFINITY"
        shortest = str(v)
        return (shortest if "." in shortest or "e" in shortest else shortest + ".0") + "f"
    v = int(value)
    if c_type == "int64_t":
        return f"INT64_C({v})" if v > -(2**63) else "INT64_MIN"
    if c_type == "int32_t" and v == -(2**31):
        return "INT32_MIN"
    return f"{v}u" if c_type == "uint32_t" else str(v)


def array(name: str, c_type: str, values: np.ndarray[Any, Any], where: str = "") -> str:
    """`static const` array of the values, in their order; where: what follows its name. Empty ones get an element, as C has no array
    without."""
    flat = np.ascontiguousarray(values, NUMPY_TYPES[c_type]).reshape(-1)
    words = [number(v, c_type) for v in (flat.tolist() if c_type != "float" else flat)] or ["0"]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) + 2 > _WIDTH:
            lines.append(line.rstrip())
            line = ""
        line += word + ", "
    lines.append(line.rstrip().rstrip(","))
    return f"static const {c_type} {name}[{len(words)}]{where and ' ' + where} = {{\n  " + "\n  ".join(lines) + "\n};\n"
