"""False alarms: run a model many times on clean inputs and count findings. `python -m edgerun_tools.soak --help`.

Zero findings in n runs bounds the false-alarm rate below 3/n at 95 % (the rule of three); any finding is printed and fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

import edgerun
from edgerun import preprocess
from edgerun_tools import data

SCHEMA = "edgerun.soak/1"


def inputs(session: edgerun.Session, spec: str, seed: int) -> Iterator[np.ndarray]:
    """Endless clean inputs [1, ...] float32: every image of the data set in turn; from the second pass on with sensor
    noise (sigma 0-8 % of the range), brightness and contrast changes, so that no two passes are alike."""
    images, _, _ = data.load(spec)
    recipe = preprocess.Preprocess.of(session.metadata)
    clean = [recipe.apply(image) for image in images]
    yield from clean
    random = np.random.default_rng(seed)
    while True:
        for x in clean:
            noise = random.standard_normal(x.shape, dtype=np.float32) * np.float32(random.uniform(0, 0.08))
            yield x * np.float32(random.uniform(0.5, 1.5)) + noise + np.float32(random.uniform(-0.2, 0.2))


def soak(model: str, spec: str, runs: int, *, threads: int | None, seed: int, policy: str) -> dict[str, object]:
    """Runs `model` `runs` times with checks on; returns counts and the first ten findings."""
    found: list[dict[str, object]] = []
    count = checked = 0
    started = time.perf_counter()
    with (
        edgerun.Session(model, exit_policy=policy, threads=threads) as session,
        Progress(console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task(Path(model).parent.name or model, total=runs)
        for k, x in zip(range(runs), inputs(session, spec, seed), strict=False):
            result = session.run(x)
            checked += result.checks.run
            count += len(result.checks.findings)
            found.extend({"run": k, **vars(f)} for f in result.checks.findings[: 10 - len(found)])
            if k % 500 == 499:
                progress.update(task, completed=k + 1)
    return {
        "schema": SCHEMA, "model": model, "data": spec, "runs": runs, "threads": threads, "seed": seed,
        "values_checked": checked, "findings": count, "first": found, "seconds": round(time.perf_counter() - started, 1),
        "rate_upper_bound_95": 3 / runs if not count else None,
    }


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 5 when a clean run raised a finding."""
    parser = argparse.ArgumentParser(prog="python -m edgerun_tools.soak", description=__doc__)
    parser.add_argument("model", nargs="+", help="ONNX files")
    parser.add_argument("--data", required=True, help="images as for `edgerun eval`")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--exit-policy", default="none", help="'none' runs every step")
    options = parser.parse_args(argv)
    findings = 0
    for model in options.model:
        report = soak(model, options.data, options.runs, threads=options.threads, seed=options.seed,
                      policy=options.exit_policy)
        findings += int(str(report["findings"]))
        print(json.dumps(report))
    return 5 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
