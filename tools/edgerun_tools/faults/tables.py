"""Results as counts with intervals: what a report shows and `--json` prints.

Every number says what it counts. Two denominators are used. *Own*: faults that were not masked under the preset itself. *Paired*: faults
that do something when nothing is checked (the same fault under `off`), and those that did something here; faults that are masked here are
left out. Only the paired one cannot be improved by alarms about faults that would have been harmless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from edgerun_tools.faults import stats
from edgerun_tools.faults.bundle import OFF
from edgerun_tools.faults.trial import (
    CLASSES,
    CORRECTED,
    CRITICAL,
    DETECTED,
    DUE,
    LATE,
    MASKED,
    STAYING,
    TOLERABLE,
    Outcome,
)

HARM, SERIOUS = frozenset({CRITICAL, TOLERABLE, DUE}), frozenset({CRITICAL, DUE})
Row = Mapping[str, Any]
Pairs = Sequence[tuple[Row, Outcome, Outcome]]
"""(fault, outcome without checks, outcome under the preset)."""


def summarise(header: Row, rows: Sequence[Row]) -> dict[str, Any]:
    """Schema "edgerun.campaign-report/1" (docs/fault-campaigns.md)."""
    confidence = header["confidence"]
    return {"schema": "edgerun.campaign-report/1", "campaign": dict(header), "faults": len(rows),
            "presets": {name: preset(header, pairs(rows, name), name, confidence) for name in header["presets"]}}


def pairs(rows: Iterable[Row], name: str) -> list[tuple[Row, Outcome, Outcome]]:
    """The rows with their outcomes under `off` and under preset `name`."""
    return [(row, Outcome.of(row["out"][OFF]), Outcome.of(row["out"][name])) for row in rows]


def preset(header: Row, found: Pairs, name: str, confidence: float) -> dict[str, Any]:
    """Everything about one preset."""
    sites = list(dict.fromkeys(p["site"] for p in header["places"]))
    clean = [row["clean"][name] for row, _, _ in found if name in row.get("clean", ())]
    by = {"site": _grouped(found, lambda row: row["site"], sites), "model": _grouped(found, lambda row: row["model"])}
    return {
        "classes": classes(found), "coverage": coverage(found, confidence),
        "sites": {site: _stratum(group, header, site, confidence) for site, group in by["site"].items()},
        "models": {model: {"classes": classes(group), "coverage": coverage(group, confidence)} for model, group in by["model"].items()},
        "checks": contributions(found, confidence), "latency": latency(found), "recovery": recovery(found, confidence),
        "false_alarms": stats.proportion(sum(map(bool, clean)), len(clean), confidence).to_dict(),
        "stained": sum(name in row.get("stained", ()) for row, _, _ in found),
        "absent": sum(o.absent for _, _, o in found), "miscorrected": sum(o.miscorrected for _, _, o in found),
        "harmless_alarms": sum(o.harmless for _, _, o in found),
        "due": dict(Counter(o.error for _, _, o in found if o.outcome == DUE).most_common()),
        "missed": missed(found, confidence), "heat": heat(found),
    }


def classes(found: Pairs) -> dict[str, int]:
    """How many faults ended in each class."""
    counted = Counter(o.outcome for _, _, o in found)
    return {c: counted[c] for c in CLASSES}


def in_time(o: Outcome) -> bool:
    """Whether an alarm came before, or with, the first wrong answer."""
    return o.outcome in (DETECTED, CORRECTED) or (o.outcome == LATE and o.left == MASKED)


def coverage(found: Pairs, confidence: float) -> dict[str, Any]:
    """own: detected or corrected among faults not masked here. effective: alarm in time among faults that change outputs (paired).
    critical: the same among faults that change top-1 or crash. …_with_late: alarms after a wrong answer count, too."""
    own = [o for _, _, o in found if o.outcome != MASKED]
    effective, serious = _paired(found, HARM), _paired(found, SERIOUS)

    def share(of: Sequence[Outcome], hit: Callable[[Outcome], bool]) -> dict[str, Any]:
        return stats.proportion(sum(map(hit, of)), len(of), confidence).to_dict()

    def ever(o: Outcome) -> bool:
        return o.outcome in (DETECTED, CORRECTED, LATE)

    return {"own": share(own, lambda o: o.outcome in (DETECTED, CORRECTED)), "own_with_late": share(own, ever),
            "effective": share(effective, in_time), "effective_with_late": share(effective, ever),
            "critical": share(serious, in_time), "critical_with_late": share(serious, ever)}


def _paired(found: Pairs, harm: frozenset[str]) -> list[Outcome]:
    return [o for _, bare, o in found if o.outcome != MASKED and (bare.outcome in harm or o.outcome in harm)]


def _stratum(found: Pairs, header: Row, site: str, confidence: float) -> dict[str, Any]:
    """A site: counts, coverage, and the critical share of all its faults with every place weighted by its size."""
    sizes = {p["step"]: p["faults"] for p in header["places"] if p["site"] == site}
    total = sum(sizes.values()) or 1
    weighted = 0.0
    for step, group in _grouped(found, lambda row: row["step"]).items():
        weighted += sizes.get(step, 0) / total * sum(o.outcome in SERIOUS for _, _, o in group) / len(group)
    serious = stats.proportion(sum(o.outcome in SERIOUS for _, _, o in found), len(found), confidence)
    return {"faults": len(found), "population": total * header["inputs"]["count"], "classes": classes(found),
            "coverage": coverage(found, confidence), "serious": serious.to_dict(), "serious_weighted": weighted}


def contributions(found: Pairs, confidence: float) -> dict[str, Any]:
    """By check: how often it spoke first, how often it alone spoke, and critical coverage (with late alarms) if it did not exist: then the
    faults that it alone reported were missed. A repair ends what later checks could have seen, so the loss is an upper bound."""
    alarmed = [o for _, _, o in found if o.fired]
    serious = _paired(found, SERIOUS)
    result = {}
    for check in sorted({c for o in alarmed for c in o.fired.split("+")}):
        left = sum(o.outcome in (DETECTED, CORRECTED, LATE) and o.fired != check for o in serious)
        result[check] = {"first": sum(o.check == check for o in alarmed), "fired": sum(check in o.fired.split("+") for o in alarmed),
                         "alone": sum(o.fired == check for o in alarmed),
                         "without": stats.proportion(left, len(serious), confidence).to_dict()}
    return result


def latency(found: Pairs) -> dict[str, Any]:
    """steps: from the step that was hit to the first finding, in the same run; runs: to a late finding."""
    steps = [max(0, o.step - row["step"]) for row, _, o in found if o.outcome in (DETECTED, CORRECTED) and o.step >= 0]
    runs = [o.run for _, _, o in found if o.outcome == LATE]
    return {what: {"count": len(v), "p50": stats.percentile(v, 0.5), "p99": stats.percentile(v, 0.99), "max": max(v, default=0)}
            for what, v in (("steps", steps), ("runs", runs))}


def recovery(found: Pairs, confidence: float) -> dict[str, Any]:
    """Outputs equal to the clean ones, bit for bit, among runs with an alarm: of transient faults, and of faults in memory."""
    groups: dict[str, list[Outcome]] = {"transient": [], "stored": []}
    for row, _, o in found:
        if o.outcome in (DETECTED, CORRECTED) or o.miscorrected:
            if row["site"] in STAYING:
                groups["stored"].append(o)
            elif row["runs"] == 1:
                groups["transient"].append(o)
    return {k: stats.proportion(sum(o.outcome == CORRECTED or o.harmless for o in v), len(v), confidence).to_dict()
            for k, v in groups.items()}


def missed(found: Pairs, confidence: float, most: int = 12) -> list[dict[str, Any]]:
    """What is not covered: site, fault model and step whose faults changed top-1 or crashed without an alarm before, most first."""
    wrong = {CRITICAL, DUE}
    lost: Counter[tuple[str, str]] = Counter()
    tried: Counter[tuple[str, str]] = Counter()
    steps: dict[tuple[str, str], Counter[int]] = {}
    for row, bare, o in found:
        key = row["site"], row["model"]
        if o.outcome != MASKED and (bare.outcome in wrong or o.outcome in wrong):
            tried[key] += 1
            if not in_time(o):
                lost[key] += 1
                steps.setdefault(key, Counter())[row["step"]] += 1
    return [{"site": site, "model": model, "steps": [k for k, _ in steps[site, model].most_common(5)],
             "missed": stats.proportion(n, tried[site, model], confidence).to_dict()} for (site, model), n in lost.most_common(most)]


def heat(found: Pairs) -> dict[str, list[list[Any]]]:
    """Cells of the heat maps: [step, site or bit, faults, ended critical or in a crash, changed outputs unseen]."""
    def cells(key: Callable[[Row], Any]) -> list[list[Any]]:
        groups = _grouped([p for p in found if key(p[0]) != -1], lambda row: (row["step"], key(row)))
        return [[step, what, len(g), sum(o.outcome in SERIOUS for _, _, o in g), sum(o.outcome in HARM for _, _, o in g)]
                for (step, what), g in sorted(groups.items())]

    return {"site": cells(lambda row: row["site"]), "bit": cells(lambda row: row["bit"])}


def _grouped(found: Pairs, key: Callable[[Row], Any], order: Sequence[Any] = ()) -> dict[Any, list[tuple[Row, Outcome, Outcome]]]:
    groups: dict[Any, list[tuple[Row, Outcome, Outcome]]] = {k: [] for k in order}
    for pair in found:
        groups.setdefault(key(pair[0]), []).append(pair)
    return {k: v for k, v in groups.items() if v}
