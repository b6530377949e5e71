"""Sequences and optionals, as Python lists and None. Positions count from the end where they are negative."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgerun.executors.shaped import Call

Array = np.ndarray[Any, Any]


def _position(at: Array | None, count: int, default: int) -> int:
    if at is None:
        return default
    k = int(np.asarray(at).reshape(-1)[0])
    if not -count <= k < max(count, 1) and not (k == count == default):
        raise IndexError(f"expected a position in [{-count}, {count}), found {k}")
    return k + count if k < 0 else k


def construct(call: Call, *items: Array) -> list[Any]:
    return [list(items)]


def empty(call: Call) -> list[Any]:
    return [[]]


def insert(call: Call, items: list[Any], item: Array, at: Array | None = None) -> list[Any]:
    k = _position(at, len(items), len(items))
    return [[*items[:k], item, *items[k:]]]


def erase(call: Call, items: list[Any], at: Array | None = None) -> list[Any]:
    k = _item(items, at)
    return [[*items[:k], *items[k + 1 :]]]


def _item(items: list[Any], at: Array | None) -> int:
    k = _position(at, len(items), len(items) - 1)
    if not 0 <= k < len(items):
        raise IndexError(f"expected a position in [{-len(items)}, {len(items)}), found {k}")
    return k


def item_at(call: Call, items: list[Any], at: Array) -> list[Any]:
    return [items[_item(items, at)]]


def length(call: Call, items: list[Any]) -> list[Any]:
    return [np.asarray(len(items), np.int64)]


def joined(call: Call, items: list[Any]) -> list[Any]:
    call.room(sum(x.size for x in items), items[0].dtype if items else np.float32)
    return [(np.stack if call.attribute("new_axis", 0) else np.concatenate)(items, axis=int(call.attribute("axis")))]


def split(call: Call, x: Array, sizes: Array | None = None) -> list[Any]:
    axis = int(call.attribute("axis", 0))
    count = x.shape[axis]
    if sizes is None:
        parts = np.split(x, count, axis) if count else []
        return [parts if call.attribute("keepdims", 1) else [p.squeeze(axis) for p in parts]]
    size = int(np.asarray(sizes).reshape(-1)[0]) if np.ndim(sizes) == 0 else 0
    if np.ndim(sizes) == 0 and size < 1:
        raise ValueError(f"expected parts of at least one element, found {size}")
    ends = np.arange(size, count, size) if size else np.cumsum(sizes)
    if not size and (np.min(sizes, initial=0) < 0 or ends[-1:].tolist() != [count]):
        raise ValueError(f"expected parts of {count} elements in all, found {np.asarray(sizes).tolist()[:8]}")
    return [np.split(x, ends if size else ends[:-1], axis)]


def optional(call: Call, item: Any = None) -> list[Any]:
    return [item]


def get_element(call: Call, item: Any) -> list[Any]:
    if item is None:
        raise ValueError("expected an optional that holds a value, found an empty one")
    return [item]


def has_element(call: Call, item: Any = None) -> list[Any]:
    return [np.asarray(item is not None)]


SEQUENCES: Mapping[str, Callable[..., list[Any]]] = {
    "ConcatFromSequence": joined, "Optional": optional, "OptionalGetElement": get_element, "OptionalHasElement": has_element,
    "SequenceAt": item_at, "SequenceConstruct": construct, "SequenceEmpty": empty, "SequenceErase": erase, "SequenceInsert": insert,
    "SequenceLength": length, "SplitToSequence": split,
}
