"""The report of a load test: what was asked of the server, whether it holds, and two tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgerun_tools.common import markdown_table
from edgerun_tools.serve.load_clients import OK
from edgerun_tools.serve.load_phases import NOT_SENT

REFUSALS = {"429", "503", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
GROWTH_KIB = 1024
GOODPUT, SLOWER, QUICK_MS = 0.9, 2.0, 10.0
"""Claims under overload: share of the peak's goodput, times the unloaded p99, time of a refusal (median)."""
PHASES = (("soak", "closed", "{clients} clients, closed loop"), ("soak", "open", "arrivals at {rate_per_s}/s"),
          ("overload", "unloaded", "1 client"), ("overload", "peak", "{clients} clients, short queue"),
          ("overload", "overload", "arrivals at {rate_per_s}/s"), ("overload", "recovery", "1 client, right after"))
COLUMNS = ("phase", "s", "answers", "right/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "p99 from sending", "refusal p50 ms",
           "clients' lag p99", "server's processors", "clients'")


def claims(report: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """(what is asked, what was found, whether it holds)."""
    closed, memory = report["soak"]["closed"], report["soak"]["memory"]
    part = report["overload"]
    over, peak, alone, after = part["overload"], part["peak"], part["unloaded"], part["recovery"]
    strange = set(over["statuses"]) - REFUSALS - {OK, NOT_SENT}
    share = over["goodput_per_s"] / max(peak["goodput_per_s"], 1e-9)
    found = [
        (f"{closed['clients']} clients, {closed['seconds']:.0f} s: nothing but right answers", counts(closed),
         set(closed["statuses"]) == {OK}),
        (f"memory grows by less than {GROWTH_KIB} KiB after warm-up", f"{memory['growth_kib']} KiB", memory["growth_kib"] < GROWTH_KIB),
        ("overload: nothing but right answers and refusals", counts(over), not strange),
        (f"overload: goodput at least {GOODPUT:.0%} of the peak", f"{share:.0%}", share >= GOODPUT),
    ]
    if over["ok_sent_ms"] and alone["ok_sent_ms"]:
        slower = over["ok_sent_ms"]["p99"] / alone["ok_sent_ms"]["p99"]
        found.append((f"overload: p99 of answers at most {SLOWER:g} times the unloaded one", f"{slower:.2f} times", slower <= SLOWER))
    if over["refused_sent_ms"]:
        median = over["refused_sent_ms"]["p50"]
        found.append((f"overload: half of the refusals within {QUICK_MS:g} ms", f"{median:.2f} ms", median <= QUICK_MS))
    found.append(("recovery: nothing but right answers at once", f"{counts(after)}, first after {after['first_answer_s']} s",
                  set(after["statuses"]) == {OK}))
    return found


def counts(phase: Mapping[str, Any]) -> str:
    """ "ok 120, 503 7"."""
    return ", ".join(f"{name} {count}" for name, count in phase["statuses"].items())


def markdown(report: Mapping[str, Any]) -> str:
    """Phases and claims as two tables."""
    rows = []
    for part, name, title in PHASES:
        p = report[part][name]
        ok, sent, refused, lag = (p[k] or {} for k in ("ok_ms", "ok_sent_ms", "refused_sent_ms", "lag_ms"))
        rows.append([title.format(**p), f"{p['seconds']:.0f}", counts(p), f"{p['goodput_per_s']:.1f}",
                     *(_ms(ok, k) for k in ("p50", "p99", "p999", "max")), _ms(sent, "p99"), _ms(refused, "p50"), _ms(lag, "p99"),
                     f"{p['server_share']:.2f}", f"{p['own_share']:.2f}"])
    held = [[asked, found, "yes" if holds else "no"] for asked, found, holds in claims(report)]
    return markdown_table(COLUMNS, rows) + "\n" + markdown_table(["asked", "found", "holds"], held)


def _ms(of: Mapping[str, float], name: str) -> str:
    return f"{of[name]:.1f}" if of else "–"


__all__ = ["claims", "counts", "markdown"]
