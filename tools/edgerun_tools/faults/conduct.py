"""A campaign from its settings to its files: results.jsonl, report.html, report.json (and cost.json) in one folder."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import edgerun
from edgerun.errors import ModelError
from edgerun_tools.faults import cluster, cost, inputs, local, models, places, plan, report, stats, store, tables, worst
from edgerun_tools.faults.bundle import OFF, Bundle
from edgerun_tools.faults.models import Planned
from edgerun_tools.faults.places import Place
from edgerun_tools.faults.setting import Setting
from edgerun_tools.faults.target import open_session
from edgerun_tools.faults.worker import started

BATCH = 40
"""Faults a process is given at a time."""
ROUNDS = 4
"""Further lists that are drawn at most where too few faults did anything (`non_masked`)."""
GROWTH = 8
"""How many times its first size a site may grow by them."""
Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Prepared:
    """A campaign that can begin."""

    bundle: Bundle
    places: list[Place]
    design: plan.Design
    quotas: dict[Place, int]
    faults: list[Planned]
    header: dict[str, Any]


def prepare(setting: Setting, tick: Tick = lambda what, done, of: None) -> Prepared:
    """Choose inputs, list places, draw faults; everything that does not depend on who runs them. Raises EdgeRunError."""
    stats.require()
    settings = setting.settings
    tick("inputs", 0, 1)
    with open_session(setting.model, "off", settings) as bare:
        chosen = inputs.choose(bare, setting.model, setting.data, setting.inputs, setting.seed)
        bundle = Bundle(bare.proto.SerializeToString(), setting.presets, chosen.feeds, setting.later, settings)
    tick("inputs", 1, 1)
    found = []
    for checks in setting.presets.values():
        with open_session(bundle.model, checks, settings) as session:
            found.append(places.of(session))
    there = places.covering(found)
    sites = models.choose(setting.sites, tuple(dict.fromkeys(p.site for p in there)), "--sites")
    where = [p for p in there if p.site in sites]
    kinds = models.choose(setting.models, tuple(models.BITS), "--models")
    design = plan.Design(setting.seed, setting.inputs, setting.margin, setting.confidence, kinds, setting.least)
    quotas = plan.quotas(where, design)
    faults = plan.faults(quotas, design)
    tick("clean answers", 0, 1)
    with started(bundle.pack()) as worker:
        tick("clean answers", 1, 1)
        if setting.worst:
            faults += worst.search(worker.damage, found[0], len(chosen.feeds), setting.worst, setting.seed, len(faults))
    header = _header(setting, settings, faults) | {
        "inputs": {"source": chosen.source, "count": len(chosen.feeds), "tried": chosen.tried, "sha256": chosen.digest,
                   "classes": inputs.balance(chosen)},
        "golden_sha256": worker.digest, "fixed_addresses": worker.fixed, "places": places.to_rows(where),
    }
    return Prepared(bundle, where, design, quotas, faults, header)


def _header(setting: Setting, settings: Mapping[str, Any], faults: Sequence[Planned]) -> dict[str, Any]:
    used, build = {f.model for f in faults}, edgerun.build_info()
    return {
        "schema": "edgerun.campaign/1", "command": setting.command, "model": Path(setting.model).name,
        "model_sha256": _sha256(setting.model), "version": edgerun.__version__, "binary_sha256": binary(), "isa": build["isa"],
        "compiler": build["compiler"], "settings": dict(settings), "presets": dict(setting.presets), "seed": setting.seed,
        "margin": setting.margin, "confidence": setting.confidence, "least": setting.least, "later": setting.later,
        "non_masked": setting.non_masked, "models": [m for m in models.MODELS if m in used], "faults": len(faults),
        "faults_sha256": hashlib.sha256(b"".join(store.canonical(f.to_dict()) for f in faults)).hexdigest(),
    }


def carry_out(ready: Prepared, out: Path, *, jobs: int = 1, scheduler: str | None = None, resume: bool = False,
              tick: Tick = lambda what, done, of: None) -> list[dict[str, Any]]:
    """Run every fault that has no result yet; returns all results, sorted. See Store for `resume`."""
    kept = store.Store(out, ready.header, resume=resume)
    try:
        faults, drawn = list(ready.faults), dict(ready.quotas)
        for turn in range(ROUNDS + 1):
            wanting = [f for f in faults if f.id not in kept.done]
            if wanting:
                _round(ready, wanting, kept, out, jobs, scheduler, partial(_told, tick, len(faults)))
            more = _more(ready, list(kept.rows()), drawn) if turn < ROUNDS else {}
            if not more:
                break
            faults += plan.faults(more, ready.design, before=drawn, first=len(faults))
            drawn = {p: n + more.get(p, 0) for p, n in drawn.items()}
        kept.finish()
    finally:
        kept.close()
    return store.read(out)[1]


def write_report(out: Path, header: Mapping[str, Any], rows: Sequence[Mapping[str, Any]],
                 costs: Mapping[str, Any] | None) -> dict[str, Any]:
    """report.html and report.json beside the results; returns what report.json holds."""
    summary = tables.summarise(header, rows) | {"cost": costs}
    (out / "report.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (out / "report.html").write_text(report.page(summary, costs, max(header["faults"], len(rows))), encoding="utf-8")
    return summary


def costs_of(ready: Prepared, out: Path, seconds: float) -> dict[str, Any]:
    """The cost of the presets, measured now or, where a campaign goes on, when it was."""
    path = out / "cost.json"
    if not path.exists():
        path.write_text(json.dumps(cost.measure(ready.bundle, seconds)) + "\n", encoding="utf-8")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def binary() -> str:
    """SHA-256 of the compiled engine and kernels that are under test."""
    held = hashlib.sha256()
    for name in ("edgerun._engine", "edgerun_kernels._native"):
        held.update(Path(str(importlib.import_module(name).__file__)).read_bytes())
    return held.hexdigest()


def _told(tick: Tick, of: int, done: int) -> None:
    tick("faults", done, of)


def _round(ready: Prepared, faults: Sequence[Planned], kept: store.Store, out: Path, jobs: int, scheduler: str | None,
           tick: Callable[[int], None]) -> None:
    batches: Iterator[Sequence[Planned]] = (faults[k:k + BATCH] for k in range(0, len(faults), BATCH))
    packed, digest = ready.bundle.pack(), ready.header["golden_sha256"]
    if scheduler:
        results = cluster.run(packed, batches, scheduler, digest)
    else:
        path = out / "bundle.npz"
        path.write_bytes(packed)
        results = local.run(path, batches, jobs, digest)
    tick(len(kept.done))
    for rows in results:
        kept.add(rows)
        tick(len(kept.done))
    if not scheduler:
        path.unlink()


def _more(ready: Prepared, rows: Sequence[Mapping[str, Any]], drawn: Mapping[Place, int]) -> dict[Place, int]:
    """What to draw further so that every site gets `non_masked` faults with an effect, by the share that had one so far."""
    wanted = ready.header["non_masked"]
    result: dict[Place, int] = {}
    for site in dict.fromkeys(p.site for p in ready.places) if wanted else ():
        mine = [row for row in rows if row["site"] == site and row["model"] != "worst"]
        hit = sum(row["out"][OFF]["outcome"] in tables.HARM for row in mine)
        where = [p for p in ready.places if p.site == site]
        room = GROWTH * sum(ready.quotas[p] for p in where) - sum(drawn[p] for p in where)
        extra = min(room, int(1.1 * (wanted - hit) * len(mine) / max(hit, 1)) + 1) if hit < wanted else 0
        if extra > 0:
            asked = plan.shared(where, extra, ready.design)
            result |= {p: min(n, p.faults * ready.design.inputs - drawn[p]) for p, n in asked.items()}
    return {p: n for p, n in result.items() if n > 0}


def _sha256(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as e:
        raise ModelError(f"{path}: expected a model file; found: {e}") from e

