"""A plan as bytes: the flat, versioned container that the C++ engine reads (docs/plan-format.md).

Little-endian. A 64-byte header, a table of sections, then the sections; constants start at multiples of 64 bytes so
that the engine can read them where they lie. The records mirror runtime/engine/plan_format.h, field by field.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from edgerun.errors import PlanError
from edgerun.planner.plan import ALIGNMENT, DTYPES, Floats, Ints, Plan, Policy, Port, Step

MAGIC = b"EDGEPLAN"
VERSION = 1

_DTYPE_CODE = {
    "f32": 0, "f64": 1, "f16": 2, "bf16": 3, "i8": 4, "u8": 5, "i16": 6, "u16": 7, "i32": 8, "u32": 9, "i64": 10, "u64": 11,
    "b8": 12,
}
_PLACE_CODE = {"input": 0, "const": 1, "arena": 2}
_POLICY_CODE = {"none": 0, "confidence": 1, "entropy": 2, "patience": 3, "deadline": 4, "dart": 5}

(_STRINGS, _INTS, _FLOATS, _DOUBLES, _SLOTS, _STEPS, _ATTRS, _CHECKS, _CONSTANTS, _DATA, _INPUTS, _OUTPUTS, _EXITS,
 _POLICY, _DIFFICULTY, _METADATA, _FALLBACKS) = range(1, 18)

_HEADER = struct.Struct("<8s2I2QI6II")
_SECTION = struct.Struct("<2I2Q")
_SLOT = struct.Struct("<4I2B6xQ")
_STEP = struct.Struct("<14IIIQ")
_ATTR = struct.Struct("<4III")
_CHECK = struct.Struct("<2IfI")
_CONSTANT = struct.Struct("<2Q")
_PORT = struct.Struct("<4III")
_EXIT = struct.Struct("<2I4IQ")
_POLICY_RECORD = struct.Struct("<2I2dq12I2I")
_DIFFICULTY_RECORD = struct.Struct("<2I10d")
_PAIR = struct.Struct("<4I")
_FALLBACK = struct.Struct("<2I6I")

Range = tuple[int, int]


def _is_float(values: Ints | Floats) -> bool:
    return any(isinstance(v, (float, np.floating)) for v in values)


class _Pools:
    """Strings, integers and floats that records refer to by (first, count); equal values are stored once."""

    def __init__(self) -> None:
        self.strings = bytearray()
        self.ints: list[int] = []
        self.floats: list[float] = []
        self.doubles: list[float] = []
        self._known_text: dict[str, Range] = {}
        self._known_ints: dict[tuple[int, ...], Range] = {}

    def text(self, s: str) -> Range:
        if s not in self._known_text:
            raw = s.encode("utf-8", "replace")
            self._known_text[s] = (len(self.strings), len(raw))
            self.strings += raw
        return self._known_text[s]

    def int_list(self, values: Sequence[int]) -> Range:
        key = tuple(int(v) for v in values)
        if key not in self._known_ints:
            self._known_ints[key] = (len(self.ints), len(key))
            self.ints += key
        return self._known_ints[key]

    def float_list(self, values: Sequence[float]) -> Range:
        self.floats += map(float, values)
        return len(self.floats) - len(values), len(values)

    def double_list(self, values: Sequence[float]) -> Range:
        self.doubles += map(float, values)
        return len(self.doubles) - len(values), len(values)


def to_bytes(plan: Plan) -> bytes:
    """The plan as one byte string. Raises PlanError for values that the container cannot hold."""
    return to_buffer(plan).tobytes()


def to_buffer(plan: Plan) -> np.ndarray:
    """The same bytes as a uint8 array whose address is a multiple of 64: the engine then reads constants in place."""
    try:
        return _assemble(plan, _sections(plan))
    except (struct.error, KeyError, OverflowError) as e:
        raise PlanError(f"the plan cannot be stored: {e!r}; report this with the model") from e


def _sections(plan: Plan) -> dict[int, tuple[int, bytes]]:
    """Section id → (record count, bytes). The data section is laid out by _assemble."""
    pools = _Pools()
    text = pools.text
    slots = [_SLOT.pack(*text(s.name), *pools.int_list(s.shape), _DTYPE_CODE[s.dtype], _PLACE_CODE[s.place], s.offset)
             for s in plan.slots]
    steps, attrs, checks = _steps(plan.steps, pools)
    constants, at = [], 0
    for c in plan.constants:
        constants.append(_CONSTANT.pack(at, c.nbytes))
        at += -(-c.nbytes // ALIGNMENT) * ALIGNMENT
    exits = [_EXIT.pack(*text(e.name), e.slot, e.logits, e.step, 0, e.macs) for e in plan.exits]
    d = plan.difficulty
    difficulty = [] if d is None else [_DIFFICULTY_RECORD.pack(d.slot, 0, *d.weights, *d.low, *d.high, d.tau_edge)]
    metadata = [_PAIR.pack(*text(k), *text(v)) for k, v in plan.metadata.items()]
    fallbacks = [_FALLBACK.pack(step, 0, *text(node), *text(op), *text(why)) for step, node, op, why in plan.fallbacks]
    records: dict[int, list[bytes]] = {
        _SLOTS: slots, _STEPS: steps, _ATTRS: attrs, _CHECKS: checks, _CONSTANTS: constants,
        _INPUTS: _ports(plan.inputs, pools), _OUTPUTS: _ports(plan.outputs, pools), _EXITS: exits,
        _POLICY: [_policy(plan.policy, pools)], _DIFFICULTY: difficulty, _METADATA: metadata, _FALLBACKS: fallbacks,
    }
    result = {k: (len(v), b"".join(v)) for k, v in records.items()}
    result[_STRINGS] = (len(pools.strings), bytes(pools.strings))
    result[_INTS] = (len(pools.ints), np.asarray(pools.ints, "<i8").tobytes())
    result[_FLOATS] = (len(pools.floats), np.asarray(pools.floats, "<f4").tobytes())
    result[_DOUBLES] = (len(pools.doubles), np.asarray(pools.doubles, "<f8").tobytes())
    return result


def _steps(plan_steps: Iterable[Step], pools: _Pools) -> tuple[list[bytes], list[bytes], list[bytes]]:
    steps: list[bytes] = []
    attrs: list[bytes] = []
    checks: list[bytes] = []
    for s in plan_steps:
        attr_range, check_range = (len(attrs), len(s.attrs)), (len(checks), len(s.checks))
        attrs += _attrs(s.attrs, pools)
        checks += [_CHECK.pack(*pools.text(c.kind), c.bound, 0) for c in s.checks]
        steps.append(_STEP.pack(
            *pools.text(s.kernel), *pools.text(s.node), *pools.text(s.op), *pools.int_list(s.inputs),
            *pools.int_list(s.outputs), *attr_range, *check_range, s.segment, 0, s.macs,
        ))
    return steps, attrs, checks


def _attrs(attrs: Mapping[str, Ints | Floats], pools: _Pools) -> list[bytes]:
    result = []
    for name, values in attrs.items():
        as_float = _is_float(values)
        where = pools.float_list(values) if as_float else pools.int_list([int(v) for v in values])
        result.append(_ATTR.pack(*pools.text(name), *where, as_float, 0))
    return result


def _ports(ports: Iterable[Port], pools: _Pools) -> list[bytes]:
    return [_PORT.pack(*pools.text(p.name), *pools.text(json.dumps(list(p.onnx_shape))), p.slot, 0) for p in ports]


def _policy(p: Policy, pools: _Pools) -> bytes:
    width = max((len(row) for row in p.coeff), default=0)
    coeff = [v for row in p.coeff for v in (*row, *[1.0] * (width - len(row)))]  # a missing factor means 1
    if len({len(row) for row in p.table}) > 1:
        raise PlanError("policy: the rows of the threshold table differ in length; calibrate the model again")
    table = [v for row in p.table for v in row]
    ranges = [pools.double_list(v) for v in (p.thresholds, p.bin_edges, p.segment_ns, table, coeff, p.temperature)]
    return _POLICY_RECORD.pack(
        _POLICY_CODE[p.kind], p.patience, p.beta, p.mix, p.budget_ns, *(v for r in ranges for v in r),
        len(p.table), len(p.coeff) if width else 0,
    )


def _assemble(plan: Plan, sections: dict[int, tuple[int, bytes]]) -> np.ndarray:
    layout, at = [], _HEADER.size + _SECTION.size * (len(sections) + 1)
    for section, (count, raw) in sorted(sections.items()):
        at = -(-at // 8) * 8
        layout.append((section, count, at, len(raw)))
        at += len(raw)
    data_at = -(-at // ALIGNMENT) * ALIGNMENT
    data_bytes = sum(-(-c.nbytes // ALIGNMENT) * ALIGNMENT for c in plan.constants)
    layout.append((_DATA, 0, data_at, data_bytes))
    total = data_at + data_bytes

    padded = np.zeros(total + ALIGNMENT, np.uint8)
    buffer = padded[-padded.ctypes.data % ALIGNMENT:][:total]
    view = buffer.data
    for k, (section, count, offset, size) in enumerate(layout):
        _SECTION.pack_into(view, _HEADER.size + k * _SECTION.size, section, count, offset, size)
        if section != _DATA:
            view[offset:offset + size] = sections[section][1]
    at = data_at
    for c in plan.constants:
        raw_constant = np.ascontiguousarray(c, dtype=c.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
        buffer[at:at + c.nbytes] = raw_constant
        at += -(-c.nbytes // ALIGNMENT) * ALIGNMENT
    _HEADER.pack_into(view, 0, MAGIC, VERSION, _HEADER.size, total, plan.arena_bytes, len(layout), *[0] * 6, 0)
    struct.pack_into("<I", view, _HEADER.size - 4, zlib.crc32(view))
    return buffer


assert set(_DTYPE_CODE) == set(DTYPES)
