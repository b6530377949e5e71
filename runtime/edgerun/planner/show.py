"""A plan for people and for JSON: steps, shapes, kernels, work, checks, exits, the memory map, fallbacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import int8
from .plan import ABSENT, Plan, Step

WIDTH = 64
"""Columns of the memory map."""


@dataclass(frozen=True)
class Block:
    """Bytes [offset, offset + size) of the arena are in use by `names` from step `first` to step `last`."""

    names: tuple[str, ...]
    offset: int
    size: int
    first: int
    last: int


def blocks(plan: Plan) -> list[Block]:
    """What lies where in the arena, and when; views and results written over their operands share a block."""
    kept = {port.slot for port in plan.outputs} | ({plan.difficulty.slot} if plan.difficulty else set())
    open_blocks: dict[tuple[int, int], list[Any]] = {}
    done: list[Block] = []
    written: set[int] = set()
    for k, step in enumerate(plan.steps):
        for index in step.outputs:
            slot = plan.slots[index] if index != ABSENT else None
            if (
                slot is None
                or slot.place != "arena"
                or ((slot.offset, slot.nbytes) in open_blocks and index in written)
            ):
                continue
            key = (slot.offset, slot.nbytes)
            operands = {
                (plan.slots[i].offset, plan.slots[i].nbytes)
                for i in step.inputs
                if i != ABSENT and plan.slots[i].place == "arena"
            }
            if key in open_blocks and key not in operands:
                done.append(_close(key, open_blocks.pop(key)))
            entry = open_blocks.setdefault(key, [[], k, k])
            entry[0].append(slot.name)
            written.add(index)
        for index in (*step.inputs, *step.outputs):
            slot = plan.slots[index] if index != ABSENT else None
            if slot is not None and slot.place == "arena" and (slot.offset, slot.nbytes) in open_blocks:
                open_blocks[slot.offset, slot.nbytes][2] = k
    ends = {(plan.slots[i].offset, plan.slots[i].nbytes) for i in kept}
    for key, entry in open_blocks.items():
        if key in ends:
            entry[2] = len(plan.steps) - 1
        done.append(_close(key, entry))
    return sorted(done, key=lambda b: (b.first, b.offset))


def _close(key: tuple[int, int], entry: list[Any]) -> Block:
    return Block(tuple(dict.fromkeys(n for n in entry[0] if n)), key[0], key[1], entry[1], entry[2])


def summary(plan: Plan) -> dict[str, Any]:
    """The plan as a JSON object; constants appear by shape, not by value."""
    return {
        "inputs": [_port(plan, p) for p in plan.inputs],
        "outputs": [_port(plan, p) for p in plan.outputs],
        "steps": [_step(plan, k, s) for k, s in enumerate(plan.steps)],
        "macs": plan.macs,
        "arena_bytes": plan.arena_bytes,
        "constant_bytes": sum(c.nbytes for c in plan.constants),
        "exits": [
            {
                "name": e.name,
                "after_step": e.step,
                "macs": e.macs,
                "logits": e.logits,
                "shape": list(plan.slots[e.slot].shape),
            }
            for e in plan.exits
        ],
        "policy": plan.policy.kind,
        "difficulty": plan.difficulty is not None,
        "memory": [
            {"names": list(b.names), "offset": b.offset, "bytes": b.size, "first": b.first, "last": b.last}
            for b in blocks(plan)
        ],
        "fallbacks": [{"step": k, "node": node, "op": op, "reason": reason} for k, node, op, reason in plan.fallbacks],
        "int8": _int8(plan),
    }


def _int8(plan: Plan) -> dict[str, Any] | None:
    """How many layers of a quantised model are in int8, and why the others are not; None where nothing is quantised."""
    found = int8.layers(plan)
    rest = [{"step": f.step, "node": plan.steps[f.step].node, "op": plan.steps[f.step].op, "reason": f.reason}
            for f in found if not f.int8]
    return {"layers": len(found), "int8": len(found) - len(rest), "float": rest} if found else None


def _port(plan: Plan, port: Any) -> dict[str, Any]:
    slot = plan.slots[port.slot]
    return {"name": port.name, "dtype": slot.dtype, "shape": list(slot.shape), "declared": list(port.onnx_shape)}


def _step(plan: Plan, index: int, step: Step) -> dict[str, Any]:
    def shapes(slots: tuple[int, ...]) -> list[list[int] | None]:
        return [None if k == ABSENT else list(plan.slots[k].shape) for k in slots]

    return {
        "index": index,
        "kernel": step.kernel,
        "op": step.op,
        "node": step.node,
        "inputs": shapes(step.inputs),
        "outputs": shapes(step.outputs),
        "attrs": {k: list(v) for k, v in step.attrs.items()},
        "macs": step.macs,
        "checks": [c.kind for c in step.checks],
        "segment": step.segment,
    }


def describe(plan: Plan) -> str:
    """Tables of steps, exits and fallbacks, then the memory map, as plain text."""
    head = (
        f"{len(plan.steps)} steps, {_count(plan.macs)} MAC, arena {_bytes(plan.arena_bytes)}, "
        f"constants {_bytes(sum(c.nbytes for c in plan.constants))}"
    )
    parts = [head, _table([("", "kernel", "operator", "shape", "MAC", "checks", "seg", "node"), *_rows(plan)])]
    rest = [f for f in int8.layers(plan) if not f.int8]
    if int8.summary(plan):
        parts.append(int8.summary(plan) + ("" if not rest else ", the others in float\n" + _table([
            ("step", "operator", "node", "reason"),
            *((str(f.step), plan.steps[f.step].op, _short(plan.steps[f.step].node), f.reason) for f in rest)])))
    if plan.exits:
        rows = [(e.name, str(e.step), _count(e.macs), "logits" if e.logits else "softmax") for e in plan.exits]
        parts.append(
            f"exits, policy {plan.policy.kind}{', difficulty estimated' if plan.difficulty else ''}\n"
            + _table([("exit", "after step", "MAC up to here", "scores"), *rows])
        )
    if plan.fallbacks:
        parts.append(
            "run by the slow onnx.reference fallback\n"
            + _table(
                [
                    ("step", "operator", "node", "reason"),
                    *((str(k), op, node, why) for k, node, op, why in plan.fallbacks),
                ]
            )
        )
    parts.append(memory_map(plan))
    return "\n\n".join(parts) + "\n"


def _rows(plan: Plan) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for k, step in enumerate(plan.steps):
        shape = "x".join(map(str, plan.slots[step.outputs[0]].shape)) if step.outputs else _control(step)
        rows.append(
            (
                str(k),
                step.kernel,
                step.op,
                shape,
                _count(step.macs) if step.macs else "",
                " ".join(c.kind for c in step.checks),
                str(step.segment),
                _short(step.node),
            )
        )
    return rows


def _control(step: Step) -> str:
    name, values = next(iter(step.attrs.items()), ("", ("",)))
    return f"{name} {values[0]}"


def memory_map(plan: Plan) -> str:
    """One line a block: bytes from left (0) to right (arena size), and the steps during which they are in use."""
    total = max(plan.arena_bytes, 1)
    lines = [f"memory map, {_bytes(plan.arena_bytes)} from left to right"]
    width = len(str(len(plan.steps)))
    for b in blocks(plan):
        left = b.offset * WIDTH // total
        right = max(left + 1, -(-(b.offset + b.size) * WIDTH // total))
        bar = " " * left + "#" * (right - left) + " " * (WIDTH - right)
        lines.append(f"{b.first:{width}}-{b.last:<{width}} |{bar}| {_bytes(b.size):>10}  {_short(', '.join(b.names))}")
    return "\n".join(lines)


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _short(text: str, limit: int = 48) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _count(n: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return str(n)


def _bytes(n: int) -> str:
    for size, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} B"
