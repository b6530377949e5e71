"""False alarms over models, instruction sets, threads and inputs of every kind.

`python -m edgerun_tools.false_alarms --runs 1000000` runs models of the data folder and the zoo under `--checks` (default: full) with every
instruction set of this build that the CPU has (or `--isas`) and with `--threads`, on clean inputs: the model's own data where there are,
noise, zeros, constants, spikes, denormals and magnitudes to 1e30. A finding is a false alarm and the exit code 5. Where a model
itself computes an infinity or NaN from such an input, the finding tells the truth: those runs are counted apart, not as clean ones.
Zero in n clean runs bounds the rate below 3/n at 95 % (the rule of three).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import edgerun
from edgerun.errors import EdgeRunError
from edgerun.feeds import TensorInfo
from edgerun_kernels import isas as compiled_isas
from edgerun_tools.check_cost import REFERENCES
from edgerun_tools.models_inputs import inputs_of
from edgerun_tools.speed import locate

SCHEMA = "edgerun.false-alarms/1"
SMALL = frozenset({
    "mlperf_ad01", "mlperf_dscnn_kws", "mlperf_resnet8", "mlperf_strww", "mlperf_vww96", "zoo/mnist_alexnet", "zoo/cifar10_alexnet",
    "zoo/cifar10_vgg", "zoo/cifar10_mobilenet", "mlperf_ad01_int8qdq", "mlperf_dscnn_kws_int8qdq", "mlperf_resnet8_cifar10_int8qdq",
    "mlperf_vww96_int8qdq", "mlperf_strww_int8qdq",
})
"""Of check_cost.REFERENCES those that a million runs can be made of."""
TICK = 500
"""Runs between two words of a worker."""


def families(info: TensorInfo, random: np.random.Generator) -> dict[str, Callable[[], np.ndarray]]:
    """Ways to fill one input [1, ...]."""
    shape, dtype = tuple(d if isinstance(d, int) else 1 for d in info.shape), np.dtype(info.dtype)
    if dtype.kind in "iu":
        low, high = (int(v) for v in (np.iinfo(dtype).min, np.iinfo(dtype).max))
        return {
            "noise": lambda: random.integers(low, high + 1, shape).astype(dtype),
            "zeros": lambda: np.zeros(shape, dtype),
            "constant": lambda: np.full(shape, random.integers(low, high + 1), dtype),
            "extremes": lambda: random.choice(np.array([low, high], dtype), shape),
        }

    def scaled(power: float) -> np.ndarray:
        return (random.standard_normal(shape, dtype=np.float32) * np.float32(10.0) ** np.float32(power)).astype(dtype)

    def spikes() -> np.ndarray:
        x = np.zeros(shape, dtype)
        x.reshape(-1)[random.integers(x.size, size=max(1, x.size // 50))] = random.choice([-1e6, 1e-6, 1.0, 1e6])
        return x

    return {
        "noise": lambda: random.random(shape, dtype=np.float32).astype(dtype),
        "normal": lambda: scaled(0),
        "zeros": lambda: np.zeros(shape, dtype) * dtype.type(random.choice([1.0, -1.0])),
        "constant": lambda: np.full(shape, random.standard_normal(), dtype),
        "spikes": spikes,
        "denormals": lambda: scaled(-41),
        "tiny": lambda: scaled(-random.uniform(5, 37)),
        "large": lambda: scaled(random.uniform(2, 15)),
        "1e30": lambda: (random.choice([-1e30, 0.0, 1e30], shape) * random.random(shape)).astype(dtype),
    }


def feeds(session: edgerun.Session, path: Path, data: Path, seed: int) -> Iterator[tuple[str, Mapping[str, np.ndarray]]]:
    """Endless: (family, inputs), families taking turns, the model's own data being one of them where there are."""
    random = np.random.default_rng(seed)
    made = [(i.name, families(i, random)) for i in session.inputs]
    names = list(dict.fromkeys(n for _, f in made for n in f))
    try:
        own = inputs_of(path.stem, session, data)
        items = [own.feeds(k) for k in own.spread(200)]
    except (EdgeRunError, OSError):
        items = []
    turn = 0
    while True:
        for name in names:
            yield name, {i: (f.get(name) or f["noise"])() for i, f in made}
        if items:
            yield "data", items[turn % len(items)]
        turn += 1


def work(path: Path, data: Path, checks: str, threads: int, runs: int, seed: int) -> Iterator[dict[str, Any]]:
    """Run one model; yields the state of affairs now and then, and at the end."""
    state: dict[str, Any] = {"clean": 0, "overflowed": 0, "false": 0, "first": [], "families": {}}
    with edgerun.Session(path, checks=checks, threads=threads, on_fault="flag", executor="engine") as session:
        for name, inputs in feeds(session, path, data, seed):
            if state["clean"] >= runs:
                break
            found = session.run(inputs).checks.findings
            if found and found[0].check == "finite":
                state["overflowed"] += 1
                if state["overflowed"] > 10 * runs + 1000:
                    break
                continue
            state["clean"] += 1
            state["families"][name] = state["families"].get(name, 0) + 1
            if found:
                state["false"] += 1
                state["first"] = (state["first"] + [{"family": name, **vars(f)} for f in found])[:5]
            if state["clean"] % TICK == 0:
                yield state
    yield state


def _worker(options: argparse.Namespace) -> int:
    for state in work(Path(options.worker), options.data, options.checks, int(options.threads), options.runs, options.seed):
        print(json.dumps(state, default=str), flush=True)
    return 0


def conduct(task: Mapping[str, Any], told: Callable[[int], None]) -> dict[str, Any]:
    """One model, instruction set and number of threads in a process of its own (the set is chosen when the library is loaded)."""
    words = [sys.executable, "-m", "edgerun_tools.false_alarms", "--worker", str(task["path"]), "--data", str(task["data"]), "--checks",
             task["checks"], "--threads", str(task["threads"]), "--runs", str(task["runs"]), "--seed", str(task["seed"])]
    begin, state, before = time.perf_counter(), {}, 0
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "EDGERUN_ISA": task["isa"]}) as process:
        for line in process.stdout or ():
            state = json.loads(line)
            told(state["clean"] - before)
            before = state["clean"]
    if process.returncode or not state:
        raise EdgeRunError(f"{task['model']}, {task['isa']}: the process ended with {process.returncode}")
    return {"schema": SCHEMA, **{k: task[k] for k in ("model", "isa", "threads", "checks", "seed")}, **state,
            "seconds": round(time.perf_counter() - begin, 1)}


def table(rows: list[dict[str, Any]]) -> Table:
    """One line a model and setting, then the sum."""
    out = Table("model", "instructions", "threads", "clean runs", "false alarms", "overflowed", title=f"checks {rows[0]['checks']}")
    for row in rows:
        out.add_row(row["model"], row["isa"], str(row["threads"]), f"{row['clean']:,}", str(row["false"]), f"{row['overflowed']:,}")
    clean, false = (sum(r[k] for r in rows) for k in ("clean", "false"))
    bound = f" (rate below {3 / clean:.1e} at 95 %)" if clean and not false else ""
    out.add_row("[bold]all", "", "", f"{clean:,}", f"{false}{bound}", f"{sum(r['overflowed'] for r in rows):,}")
    return out


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 5 when a clean run raised a finding."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.false_alarms", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000, help="clean runs in total (of each task with --worker)")
    parser.add_argument("--checks", default="full")
    parser.add_argument("--isas", default="", help="comma separated; all that there are")
    parser.add_argument("--threads", default="1,2", help="comma separated")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EDGERUN_DATA", "../shared/data")))
    parser.add_argument("--zoo", type=Path, default=Path("models/zoo"))
    parser.add_argument("--only", default="", help="part of a model's name")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        return _worker(options)
    there = [(r.name, locate(r, options.data, options.zoo)) for r in REFERENCES if r.name in SMALL and options.only in r.name]
    for name, path in there:
        if not path.exists():
            Console(stderr=True).print(f"skipped {name}: no {path}")
    there = [(name, path) for name, path in there if path.exists()]
    isas = options.isas.split(",") if options.isas else compiled_isas()
    settings = [(m, isa, int(t)) for m in there for isa in isas for t in options.threads.split(",")]
    if not settings:
        raise SystemExit("none of the models is there: set EDGERUN_DATA or --data")
    same = {"checks": options.checks, "data": options.data, "runs": -(-options.runs // len(settings))}
    tasks = [{"model": m[0], "path": m[1], "isa": isa, "threads": t, "seed": options.seed + k, **same}
             for k, (m, isa, t) in enumerate(settings)]
    with Progress(console=Console(stderr=True)) as progress, ThreadPoolExecutor(options.jobs) as pool:
        bar = progress.add_task("clean runs", total=sum(t["runs"] for t in tasks))
        rows = list(pool.map(lambda t: conduct(t, lambda n: progress.advance(bar, n)), tasks))
    for row in rows if options.json else ():
        print(json.dumps(row))
    if not options.json:
        Console().print(table(rows))
    for row in rows:
        for f in row["first"]:
            print(json.dumps({"model": row["model"], "isa": row["isa"], "threads": row["threads"], "finding": f}), file=sys.stderr)
    return 5 if any(r["false"] for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
