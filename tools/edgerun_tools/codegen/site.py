"""What a piece sees of a step, and what it gives back: constants, scratch, a call."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from edgerun.errors import UnsupportedOpError
from edgerun.planner.plan import ABSENT, Plan, Slot, Step
from edgerun_tools.codegen.checks.asked import Asked
from edgerun_tools.codegen.memory import Memory
from edgerun_tools.codegen.text import C_TYPES, NUMPY_TYPES, array, number

Array = np.ndarray[Any, Any]
VIEWS = {"f32": "f32", "i8": "u8", "u8": "u8", "b8": "u8", "i16": "i16", "u16": "i16", "i32": "i32", "u32": "i32", "i64": "i64",
         "u64": "i64"}
"""Plan dtype → member of the arena through which it is seen."""
WORDS = frozenset({"er_window", "er_ring", "er_gather", "er_strips", "er_bands", "er_bounds", "er_spread", "er_matrices", "er_audit_i8",
                   "er_audit_f32", "er_exit_table", "er_difficulty"})
"""Structs of nothing but int32, uint32 and float: their bytes are known."""
_SIZES = {"f32": 4, "u8": 1, "i16": 2, "i32": 4, "i64": 8}


@dataclass
class Program:
    """A program as it grows."""

    plan: Plan
    memory: Memory
    inputs: tuple[str, ...]
    fragments: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    calls: list[list[str]] = field(default_factory=list)
    constant_bytes: dict[int, int] = field(default_factory=dict)
    defines: set[str] = field(default_factory=set)
    asked: Asked = field(default_factory=lambda: Asked(frozenset(), False, "flag"))
    checks: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    """By step: (kind, call) of what is verified after its calls."""
    images: list[tuple[int, str, bytes]] = field(default_factory=list)
    """(step, C expression of an address, bytes) of constants, as a little-endian core holds them."""
    harvard: bool = False
    """Whether constant arrays lie in program memory, which only kernels that know of it can read (flash.h)."""
    maed: bool = False
    """Whether activations are to be verified on such a core."""
    mve: bool = False
    """Whether the core has Arm's MVE."""
    guarded: int = 0
    """How many calls are (lean.py)."""


@dataclass(frozen=True)
class Site:
    """Step number `index` of the plan, for the piece that emits it."""

    program: Program
    index: int

    @property
    def plan(self) -> Plan:
        return self.program.plan

    @property
    def step(self) -> Step:
        return self.plan.steps[self.index]

    def ints(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """A list attribute of integers."""
        return tuple(int(v) for v in self.step.attrs.get(name, default))

    def integer(self, name: str, default: int = 0) -> int:
        """A scalar integer attribute."""
        value = self.step.attrs.get(name)
        return int(value[0]) if value else default

    def real(self, name: str, default: float = 0.0) -> float:
        """A scalar float attribute, rounded to float32 as all executors see it."""
        value = self.step.attrs.get(name)
        return float(np.float32(value[0] if value else default))

    def has(self, k: int) -> bool:
        """Whether operand k is there."""
        return k < len(self.step.inputs) and self.step.inputs[k] != ABSENT

    def slot(self, k: int) -> Slot:
        """The tensor of operand k."""
        return self.plan.slots[self.step.inputs[k]]

    def out(self, k: int = 0) -> Slot:
        """The tensor of result k."""
        return self.plan.slots[self.step.outputs[k]]

    def is_constant(self, k: int) -> bool:
        """Whether operand k is known now."""
        return self.slot(k).place == "const"

    def constant(self, k: int) -> Array:
        """The values of operand k, which must be known now."""
        if not self.is_constant(k):
            self.refuse(f"operand {k} to be constant", f"{self.slot(k).name!r}, which is computed", "make it a weight of the model")
        slot = self.slot(k)
        return self.plan.constants[slot.offset].reshape(slot.shape)

    def x(self, k: int) -> str:
        """C expression of operand k: a pointer to its first element; bytes of either sign are `uint8_t`."""
        slot = self.slot(k)
        if slot.place == "const":
            if self.program.harvard:
                self.refuse("a constant operand only where it is a weight or a table", f"{slot.name!r}", "run this node elsewhere")
            c_type = "uint8_t" if VIEWS.get(slot.dtype) == "u8" else C_TYPES.get(slot.dtype, "")
            if c_type not in NUMPY_TYPES:
                self.refuse("constants of 1, 2, 4 or 8 bytes that C has", slot.dtype)
            values = self.constant(k)
            return self.table(f"operand{k}", c_type, values.view(np.uint8) if c_type == "uint8_t" else values)
        return self.pointer(slot)

    def y(self, k: int = 0) -> str:
        """C expression of result k."""
        return self.pointer(self.out(k))

    def pointer(self, slot: Slot) -> str:
        """C expression of any tensor that is no constant."""
        if slot.dtype not in VIEWS:
            self.refuse("tensors of float32, booleans or integers", f"{slot.name!r} of {slot.dtype}")
        if slot.place == "input":
            name = self.program.inputs[slot.offset]
            return f"(const uint8_t *){name}" if slot.dtype == "i8" else name
        return self.arena(VIEWS[slot.dtype], slot.offset)

    def arena(self, view: str, offset: int) -> str:
        """C expression of a place in the arena, by the member of its union."""
        return f"arena.{view} + {offset // _SIZES[view]}" if offset else f"arena.{view}"

    def table(self, name: str, c_type: str, values: Array, *, paged: bool = False) -> str:
        """Emits a constant array and returns its name. paged: in program memory it begins at a multiple of 256."""
        full = f"step{self.index}_{name}"
        where = ("ER_PAGE" if paged else "ER_FLASH") if self.program.harvard else ""
        self.program.tables.append(array(full, c_type, values, where))
        if np.size(values):  # er_scrub would go round blocks without bytes for ever
            self.program.images.append((self.index, full, np.ascontiguousarray(values, NUMPY_TYPES[c_type]).tobytes()))
        self._count(values.size * np.dtype(NUMPY_TYPES[c_type]).itemsize)
        return full

    def record(self, name: str, c_type: str, **fields: Any) -> str:
        """Emits a constant struct and returns a pointer to it; fields are integers, floats, lists of them, or C text."""
        full = f"step{self.index}_{name}"
        words = [f".{k} = {_field(v)}" for k, v in fields.items()]
        lines, line = [], "  "
        for word in words:
            if len(line) + len(word) > 130:
                lines.append(line.rstrip())
                line = "  "
            line += word + ", "
        body = "\n".join([*lines, line.rstrip().rstrip(",")])
        self.program.tables.append(f"static const {c_type} {full} = {{\n{body}\n}};\n")
        self._count(4 * sum(len(v) if isinstance(v, (list, tuple)) else 1 for v in fields.values()))
        if c_type in WORDS:
            self.program.images.append((self.index, f"&{full}", b"".join(_words(v) for v in fields.values())))
        return f"&{full}"

    def bounds(self, low: float, high: float) -> str:
        """Emits an interval of floats and returns it by value."""
        return self.record("bounds", "er_bounds", low=float(low), high=float(high)).removeprefix("&")

    def _count(self, size: int) -> None:
        self.program.constant_bytes[self.index] = self.program.constant_bytes.get(self.index, 0) + size

    def scratch(self, view: str, size: int) -> str:
        """C expression of `size` bytes of the arena that are this step's alone."""
        return self.arena(view, self.program.memory.scratch(self.index, size))

    def define(self, name: str) -> None:
        """Switches a part of the kernels on."""
        self.program.defines.add(name)

    def needs(self, fragment: str) -> None:
        """Takes a kernel's file into the program."""
        if fragment not in self.program.fragments:
            self.program.fragments.append(fragment)

    def call(self, fragment: str, function: str, *arguments: Any) -> None:
        """Emits one call; `fragment` is the kernel's file."""
        self.needs(fragment)
        self.program.calls[self.index].append(f"{function}({', '.join(map(str, arguments))});")

    def check(self, kind: str, fragment: str, function: str, *arguments: Any) -> None:
        """Emits a check of what the calls of this step computed; it tells by er_watch.now (kernels/c/watch.h)."""
        if fragment not in self.program.fragments:
            self.program.fragments.append(fragment)
        self.program.checks.setdefault(self.index, []).append((kind, f"{function}({', '.join(map(str, arguments))});"))

    def guard(self, fragment: str, function: str, *arguments: Any) -> None:
        """Emits a call that returns nonzero where what it verifies does not hold; it is made again then."""
        self.call(fragment, function, *arguments)
        calls = self.program.calls[self.index]
        calls[-1:] = [f"while ({calls[-1].removesuffix(';')})", f"  if (!er_failed({self.index})) break;"]
        self.program.guarded += 1

    def statement(self, line: str) -> None:
        """Emits one line of C."""
        self.program.calls[self.index].append(line)

    def refuse(self, expected: str, found: str, advice: str = "run this model with the engine instead") -> NoReturn:
        """Raises UnsupportedOpError that names the operator and the node."""
        where = f"{self.step.op or self.step.kernel}, node '{self.step.node}'"
        raise UnsupportedOpError(f"{where}: generated C expects {expected}; found {found}; {advice}")


def _field(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return number(value, "float")
    if isinstance(value, (list, tuple)):
        return "{" + ", ".join(map(_field, value)) + "}"
    return number(value, "int32_t")


def _words(value: Any) -> bytes:
    """The bytes of a field of 32 bits, or of several."""
    if isinstance(value, str):
        return int(value.rstrip("u"), 0).to_bytes(4, "little")
    if isinstance(value, (list, tuple)):
        return b"".join(_words(v) for v in value)
    return struct.pack("<f" if isinstance(value, float) else "<i", value)


Write = Callable[[Site], None]
"""Emits a step."""
