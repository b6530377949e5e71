"""Plans made by hand for the engine's tests."""

from __future__ import annotations

import numpy as np

from edgerun.planner.plan import Check, Difficulty, ExitPoint, Plan, Policy, Port, Slot, Step

MAED = (Check("maed"),)


def arena(name: str, offset: int, shape: tuple[int, ...] = (1, 4), dtype: str = "f32") -> Slot:
    return Slot(name, dtype, shape, "arena", offset)


def chain(n: int, size: int, *, checks: bool = True) -> Plan:
    """x → relu → relu …, `n` steps over `size` values."""
    room = -(-size * 4 // 64) * 64
    slots = [Slot("x", "f32", (1, size), "input", 0)] + [arena(f"y{k}", room * (k % 2), (1, size)) for k in range(n)]
    steps = [Step("relu_f32", (k,), (k + 1,), {}, f"node{k}", "Relu", MAED if checks else ()) for k in range(n)]
    return Plan(tuple(slots), tuple(steps), (), (Port("x", 0, ("n", size)),), (Port("y", n),), 2 * room)


def exits_plan(policy: Policy, *, logits: bool = False, classes: int = 4, difficulty: bool = False) -> Plan:
    """x → relu → exit 0; + x → exit 1; doubled → last exit. With `difficulty`, a second input holds its four values."""
    shape, room = (1, classes), -(-classes * 4 // 64) * 64
    slots = (Slot("x", "f32", shape, "input", 0), arena("a", 0, shape), arena("b", room, shape),
             arena("c", 2 * room, shape), Slot("d", "f32", (4,), "input", 1), arena("alpha", 3 * room, (4,)))
    head = (Step("copy_x32", (4,), (5,), node="difficulty"),) if difficulty else ()
    at = len(head)
    steps = (
        *head,
        Step("relu_f32", (0,), (1,), node="n0", op="Relu", checks=MAED),
        Step("exit", (), (), {"index": (0,)}),
        Step("add_f32", (1, 0), (2,), node="n1", op="Add", segment=1),
        Step("exit", (), (), {"index": (1,)}),
        Step("add_f32", (2, 2), (3,), node="n2", op="Add", segment=2),
    )
    exits = tuple(ExitPoint(f"e{k}", k + 1, logits, k + 1, at + 2 * k + 1) for k in range(3))
    inputs = (Port("x", 0), Port("d", 4)) if difficulty else (Port("x", 0),)
    slots = slots if difficulty else slots[:4]
    estimator = Difficulty(5, (0.4, 0.3, 0.3), (0.0,) * 3, (1.0,) * 3, 0.1) if difficulty else None
    outputs = (Port("a", 1), Port("b", 2), Port("c", 3))
    return Plan(slots, steps, (), inputs, outputs, 3 * room + 64, exits, policy, estimator)


def gather_plan() -> Plan:
    """indices [2] i64 → rows of a constant [3,2] table, checked at run time."""
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    slots = (Slot("table", "f32", (3, 2), "const", 0), Slot("i", "i64", (2,), "input", 0), arena("y", 0, (2, 2)))
    steps = (Step("gather_x32", (0, 1), (2,), {"axis": (0,)}, "lookup", "Gather"),)
    return Plan(slots, steps, (table,), (Port("i", 1),), (Port("y", 2),), 64)


def branch_plan() -> Plan:
    """flag, x → relu(x) when the flag is true, else x + x."""
    slots = (Slot("flag", "b8", (), "input", 0), Slot("x", "f32", (1, 4), "input", 1), arena("y", 0))
    steps = (
        Step("branch", (0,), (), {"target": (3,)}),
        Step("relu_f32", (1,), (2,), node="then", op="Relu", checks=MAED),
        Step("jump", (), (), {"target": (4,)}),
        Step("add_f32", (1, 1), (2,), node="else", op="Add"),
    )
    return Plan(slots, steps, (), (Port("flag", 0), Port("x", 1)), (Port("y", 2),), 64)
