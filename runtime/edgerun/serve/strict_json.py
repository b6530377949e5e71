"""JSON as a stranger may send it: bounded nesting, no key twice, no NaN or Infinity, UTF-8 only."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from edgerun.errors import Refused

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NEITHER = bytes(b for b in range(256) if b not in b'[]{}"')


def loads(blob: bytes, depth: int) -> Any:
    """Refused("syntax") with what is wrong, and nothing of the text."""
    if _nesting(blob) > depth:
        raise Refused("syntax", f"JSON: expected at most {depth} levels")
    try:
        return json.loads(blob.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_constant)
    except UnicodeDecodeError as e:
        raise Refused("syntax", "JSON: expected UTF-8") from e
    except json.JSONDecodeError as e:
        raise Refused("syntax", f"JSON: {e.msg} at character {e.pos}") from e
    except (ValueError, RecursionError) as e:  # a number of more digits than Python converts
        raise Refused("syntax", "JSON: expected numbers of at most 4300 digits") from e


def _nesting(blob: bytes) -> int:
    """Deepest nesting, brackets within strings left out; counted before anything is parsed."""
    if b"\\" in blob:
        blob = _STRING.sub(b"", blob)
    marks = np.frombuffer(blob.translate(None, _NEITHER), np.uint8)
    quotes = marks == ord('"')
    outside = (np.cumsum(quotes, dtype=np.int64) & 1 == 0) & ~quotes
    opens = (marks == ord("[")) | (marks == ord("{"))
    steps = np.where(opens, 1, -1)[outside]
    return int(np.cumsum(steps, dtype=np.int64).max(initial=0))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("syntax", "JSON: expected every key of an object once")
    return found


def _constant(text: str) -> None:
    raise Refused("syntax", "JSON: expected numbers; NaN and Infinity are none")
