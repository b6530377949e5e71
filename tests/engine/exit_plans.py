"""A small plan with three exits, and a policy of every kind for it."""

from __future__ import annotations

import numpy as np

from edgerun.planner.plan import Check, Difficulty, ExitPoint, Plan, Policy, Port, Slot, Step

CLASSES, SIDE, EXITS = 4, 6, 3
LOW, HIGH, WEIGHTS = (0.0, 0.0, 0.0), (1.0, 0.2, 2.0), (0.4, 0.3, 0.3)
DIFFICULTY = {"layout": (0,), "scale": (1.0,), "offset": (0.0,), "gray": (1.0,), "tau_edge": (1.0,), "low": LOW, "high": HIGH,
              "weights": WEIGHTS}
POLICIES = {
    "none": Policy(),
    "confidence": Policy("confidence", thresholds=(0.5, 0.4)),
    "confidence, tempered": Policy("confidence", thresholds=(0.4, 0.35), temperature=(2.0, 1.5, 1.0)),
    "never": Policy("confidence", thresholds=(2.0, 2.0)),
    "entropy": Policy("entropy", thresholds=(0.2, 0.15)),
    "patience": Policy("patience", patience=1),
    "deadline, no time": Policy("deadline", budget_ns=0, segment_ns=(1.0, 1.0, 1.0)),
    "deadline, all time": Policy("deadline", budget_ns=10**15, segment_ns=(1.0, 1.0, 1.0)),
    "dart": Policy("dart", thresholds=(0.3, 0.3), beta=0.3),
    "dart, mixed": Policy("dart", thresholds=(0.2, 0.2), beta=0.1, mix=0.4, temperature=(1.2, 1.0, 1.0)),
    "dart, table": Policy("dart", bin_edges=(0.3, 0.45), table=((0.3, 0.45, 2.0), (0.3, 0.4, 0.5)), beta=0.0),
    "dart, everything": Policy("dart", bin_edges=(0.3, 0.45), table=((0.2, 0.3, 2.0), (0.3, 0.35, 0.5)), beta=0.1, mix=0.4,
                               coeff=((0.5, 1.0, 1.5, 2.0), (1.0, 1.0, 0.8, 1.2)), temperature=(1.2, 0.8, 1.0)),
    "dart, coefficients": Policy("dart", thresholds=(0.4, 0.4), coeff=((0.5, 1.0, 1.5, 2.0), (1.0, 1.0, 0.8, 1.2))),
}


def plan_of(policy: Policy) -> Plan:
    """A 6x6 image; each exit is x @ w, after another ReLU on x. The second exit gives probabilities, the others logits."""
    rng = np.random.default_rng(11)
    n = SIDE * SIDE
    slots = [Slot("x", "f32", (1, 1, SIDE, SIDE), "input", 0), Slot("flat", "f32", (1, n), "input", 0),
             Slot("d", "f32", (4,), "arena", 0)]
    steps = [Step("difficulty_f32", (0,), (2,), DIFFICULTY)]
    constants, exits, at = [], [], 64

    def arena(name: str, width: int) -> int:
        nonlocal at
        slots.append(Slot(name, "f32", (1, width), "arena", at))
        at += -(-4 * width // 64) * 64
        return len(slots) - 1

    source = 1
    for k in range(EXITS):
        hidden = arena(f"h{k}", n)
        steps.append(Step("relu_f32", (source,), (hidden,), node=f"relu{k}", op="Relu", checks=(Check("maed"),), segment=k))
        slots.append(Slot(f"w{k}", "f32", (n, CLASSES), "const", len(constants)))
        constants.append((rng.standard_normal((n, CLASSES)) * 0.25).astype(np.float32))
        weights, logits = len(slots) - 1, arena(f"e{k}", CLASSES)
        steps.append(Step("matmul_f32", (hidden, weights), (logits,), {"trans_a": (0,), "trans_b": (0,), "alpha": (1.0,)}, segment=k))
        if k == 1:
            slot, logits = logits, arena("p", CLASSES)
            steps.append(Step("softmax_f32", (slot,), (logits,), {"axis": (1,)}, segment=k))
        exits.append(ExitPoint(f"e{k}", logits, k != 1, k + 1, len(steps)))
        if k < EXITS - 1:
            steps.append(Step("exit", (), (), {"index": (k,)}, segment=k))
        source = hidden
    return Plan(tuple(slots), tuple(steps), tuple(constants), (Port("x", 0),), tuple(Port(e.name, e.slot) for e in exits), at,
                tuple(exits), policy, Difficulty(2, WEIGHTS, LOW, HIGH, 1.0))


def image(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((1, 1, SIDE, SIDE)) * rng.random()).astype(np.float32)
