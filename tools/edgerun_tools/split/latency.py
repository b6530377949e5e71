"""Where to cut: time on the device, on the wire and on the server for every place a model can be cut at.

After Neurosurgeon (Kang et al., ASPLOS 2017): times are measured step by step, not modelled by operator. For a cut behind which the tail
computes steps T, and in front of which the device computes steps H with exits 0 ... e-1,

    latency = sum over i < e of share_i t(H up to exit i) + (1 - sum share_i) (t(H) + rtt + 8 bytes / bandwidth + t(T))

share_i: the part of the inputs that leaves at exit i. What comes back is a few scores and travels within the round trip.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgerun import Session
from edgerun.errors import DataError, OptionError
from edgerun.feeds import random_feeds
from edgerun.planner.plan import Plan
from edgerun.splits.wire import bytes_for
from edgerun_tools.split.cut import Splitter

UNITS = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
DEVICE_ONLY, SERVER_ONLY = "(device only)", "(server only)"


@dataclass(frozen=True)
class Link:
    """bandwidth in bit/s from the device to the server, rtt in seconds, and how features are written (edgerun.splits.wire)."""

    bandwidth: float
    rtt: float
    encoding: str


@dataclass(frozen=True)
class Row:
    """A place. Times in milliseconds; bytes that travel; leave: share of inputs that stays on the device; exits there."""

    tensor: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    device_ms: float
    wire_ms: float
    server_ms: float
    latency_ms: float
    leave: float
    exits: int


@dataclass(frozen=True)
class Times:
    """Nanoseconds of each step of `plan` on the device and on the server."""

    plan: Plan
    device: np.ndarray
    server: np.ndarray


def bits_per_second(option: str, text: str) -> float:
    """"20Mbit" → 2e7. OptionError."""
    lower = text.strip().lower().removesuffix("/s")
    unit = next((u for u in sorted(UNITS, key=len, reverse=True) if lower.endswith(u)), "")
    try:
        value = float(lower.removesuffix(unit)) * UNITS[unit]
    except (KeyError, ValueError):
        value = 0.0
    if not 0 < value < 1e15:
        raise OptionError(f"{option}: expected a rate such as 20Mbit, 1Gbit or 250kbit; found {text!r}")
    return value


def measure(session: Session, profile: str | None, scale: float, repeats: int = 30) -> Times:
    """Steps timed here, for the server; for the device read from `profile` (what `edgerun bench --profile --json` wrote there), else
    `scale` times those of the server. DataError where the profile is of another plan."""
    feeds = random_feeds(session.fixed_inputs, 0)
    session.profile(feeds, 3)
    server = np.median([[s.us for s in session.profile(feeds, 1)] for _ in range(repeats)], axis=0)
    plan = session.plan_for(feeds)
    return Times(plan, server * scale if profile is None else _of_device(profile, plan), server)


def _of_device(path: str, plan: Plan) -> np.ndarray:
    try:
        steps = json.loads(Path(path).read_text(encoding="utf-8"))["steps"]
        found = [(s["node"], s["op"]) for s in steps]
        times = np.array([float(s.get("us_median", s["us"])) for s in steps])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"--device-profile {path}: expected what `edgerun bench MODEL --profile --json` prints on the device; "
                        f"found: {e}") from e
    if found != [(s.node, s.op) for s in plan.steps]:
        raise DataError(f"--device-profile {path}: expected the {len(plan.steps)} steps of this model; found {len(found)} that differ: "
                        "profile the same file, with the same version, on the device")
    return times


def table(splitter: Splitter, times: Times, link: Link, shares: Sequence[float]) -> list[Row]:
    """All places, in the order of the plan, between device only and server only. shares: by exit of the whole model, last included."""
    plan = times.plan
    every = set(range(len(plan.steps)))
    sent = sum(bytes_for(plan.slots[p.slot].shape, np.dtype(splitter.said.inputs[k].dtype), "fp32") for k, p in enumerate(plan.inputs))
    whole = len(plan.exits)
    rows = [replace(_row(times, link, DEVICE_ONLY, (), "", 0, every, whole, shares), wire_ms=0.0)]
    last = splitter.said.exits[-1] if splitter.said.exits else splitter.said.outputs[-1].name
    seen = set()
    for step in plan.steps:
        for slot in step.outputs:
            name = plan.slots[slot].name
            if name in seen or splitter.shape(name) is None:
                continue
            seen.add(name)
            row = _cut_row(splitter, times, link, shares, name, last)
            rows += [row] if row else []
    wire = 1e3 * (link.rtt + 8 * sent / link.bandwidth)
    served = float(times.server.sum()) / 1e3
    rows.append(Row(SERVER_ONLY, tuple(plan.slots[plan.inputs[0].slot].shape), str(splitter.said.inputs[0].dtype), sent, 0.0, wire, served,
                    wire + served, 0.0, 0))
    return rows


def _cut_row(splitter: Splitter, times: Times, link: Link, shares: Sequence[float], name: str, last: str) -> Row | None:
    try:
        halves = splitter.anatomy.halves([name])
    except OptionError:
        return None
    if halves.also or last not in halves.tail_outputs:
        return None
    dtype, shape = splitter.shape(name)  # type: ignore[misc]
    plan = times.plan
    local = [e for e in plan.exits if e.name in halves.head_outputs]
    head = _before(splitter, plan, halves.head)
    if len(head) == len(plan.steps):
        return None
    return _row(times, link, name, shape, dtype, bytes_for(shape, np.dtype(dtype), link.encoding), head, len(local), shares)


def _row(times: Times, link: Link, name: str, shape: tuple[int, ...], dtype: str, size: int, head: set[int], exits: int,
         shares: Sequence[float]) -> Row:
    plan = times.plan
    device = sum(times.device[k] for k in head) / 1e3
    server = sum(times.server[k] for k in range(len(plan.steps)) if k not in head) / 1e3
    wire = 1e3 * (link.rtt + 8 * size / link.bandwidth)
    leave = float(sum(shares[:exits]))
    early = sum(shares[i] * sum(times.device[k] for k in head if k < plan.exits[i].step) / 1e3 for i in range(exits))
    rest = device if name == DEVICE_ONLY else device + wire + server
    return Row(name, shape, dtype, size, device, wire, server, early + (1 - leave) * rest, leave, exits)


def _before(splitter: Splitter, plan: Plan, nodes: Iterable[int]) -> set[int]:
    """Steps of the head: those whose result one of its nodes makes, and those in front of them that only move things about."""
    known = splitter.anatomy.makers
    made = {o for k in nodes for o in splitter.proto.graph.node[k].output}
    found, side = set(), False
    for k in reversed(range(len(plan.steps))):
        names = [plan.slots[o].name for o in plan.steps[k].outputs if plan.slots[o].name in known]
        side = names[0] in made if names else side
        if side:
            found.add(k)
    return found


def best(rows: Sequence[Row]) -> Row | None:
    """The cut with the least latency, of equal ones that with the least for an input that travels; None where there is none."""
    cuts = [r for r in rows if r.tensor not in (DEVICE_ONLY, SERVER_ONLY)]
    return min(cuts, key=lambda r: (r.latency_ms, r.device_ms + r.wire_ms + r.server_ms), default=None)


def to_dict(rows: Sequence[Row], link: Link, chosen: str) -> Mapping[str, Any]:
    """The entry `latency` of split.json."""
    return {"bandwidth": link.bandwidth, "rtt_ms": 1e3 * link.rtt, "encoding": link.encoding, "chosen": chosen,
            "rows": [{f: getattr(r, f) for f in r.__dataclass_fields__} for r in rows]}
