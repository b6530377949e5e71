"""The whole table of docs/detection-results.md: networks x cuts x noise x attacks x detectors.

    python -m edgerun_tools.detect.experiment --work work/ --out docs/

in the project's root (the networks are those of models/zoo; --zoo for another folder). `work/` keeps features, attacked features and one
JSON an entry, so that a run that was stopped goes on where it was, and entries may be made one by one (--only cifar10_vgg:0). Needs the
CIFAR-10 copy of $EDGERUN_DATA and the extra "detect".
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from edgerun.detect import Detector
from edgerun.errors import DataError, EdgeRunError, OptionError
from edgerun_tools.common import errors, fail
from edgerun_tools.detect import evaluate, features_of, gradient, network, noise
from edgerun_tools.detect.attacks import ATTACKS
from edgerun_tools.detect.baselines import Baseline, baselines
from edgerun_tools.detect.decision import RIVALS
from edgerun_tools.detect.features_of import POINTS, Features
from edgerun_tools.detect.measure import auroc
from edgerun_tools.detect.report import GENUINE, KNOWING, write
from edgerun_tools.detect.served import ServedTail
from edgerun_tools.detect.train import Settings, Trained
from edgerun_tools.detect.train import train as fit
from edgerun_tools.split.cut import Cut, Splitter

SEED = 5


@dataclass(frozen=True)
class Sizes:
    """Images: `train` and `calibration` of those parts; of the test part the first `benign` are compared with, the first `attacked`
    attacked, and all of `test` behind `benign` are what the attacker intercepted. epochs of the rivals' networks: `mse`, `paper`."""

    train: int = 8000
    calibration: int = 5000
    test: int = 2500
    benign: int = 1000
    attacked: int = 200
    mse: int = 15
    paper: int = 30


def entry(zoo: Path, name: str, place: int, sizes: Sizes, work: Path, names: Sequence[str] = ATTACKS) -> dict[str, Any]:
    """One network cut at one place: everything that the report tells of it."""
    torch.set_num_threads(1)
    model, tensor = zoo / name / "model.onnx", POINTS[name][place]
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    cut = Splitter(str(model)).cut([tensor])
    tail, started = ServedTail(cut.tail), time.perf_counter()
    cache = work / "features"
    train_set, calibration, test = (features_of.features(model, tensor, p, cache, count=n) for p, n in (
        ("train", sizes.train), ("calibration", sizes.calibration), ("test", sizes.test)))
    trained = _trained(train_set, calibration, tail, work / f"{name}-{place}-{digest[:8]}.pt")
    errors.print(f"{name} {place}: trained, {time.perf_counter() - started:.0f} s")
    context = evaluate.Bench(tail, test, trained.reference, sizes.benign, sizes.attacked).context
    budget = gradient.least_budget(context, samples=40)
    bench = evaluate.Bench(tail, test, trained.reference, sizes.benign, sizes.attacked, budget, trained.net)
    modes = tuple(m for m in trained.thresholds if m != "exit")
    scorers = evaluate.of_net(trained.net, modes)
    every = scorers | _rivals(train_set, calibration, trained, sizes)
    errors.print(f"{name} {place}: rivals fitted, {time.perf_counter() - started:.0f} s")
    key = f"{digest} {tensor}"
    made: dict[str, Any] = {}
    for attack in names:
        made[attack] = bench.make(attack, cache, key)
        errors.print(f"{name} {place}: {attack}, {time.perf_counter() - started:.0f} s")
    rows = bench.rows(names, every, made.__getitem__)
    errors.print(f"{name} {place}: compared, {time.perf_counter() - started:.0f} s")
    known = evaluate.of_net(trained.net, tuple(trained.thresholds))
    alarms = {f"{r:g}": bench.false_alarms(known, {m: t[f"{r:g}"] for m, t in trained.thresholds.items()}) for r in (evaluate.RATE,)}
    return {"network": name, "tensor": tensor, "shape": list(train_set.x.shape[1:]), "exits": list(cut.head_exits), "budget": budget,
            "accuracy": _accuracy(tail, test, trained), "rows": [r.to_dict() for r in rows], "false_alarms": alarms, "rate": evaluate.RATE,
            "decisions": _decisions(trained, train_set, test.part(slice(0, sizes.benign)), made),
            "latency": _latency(cut, trained, tail, test), "seconds": time.perf_counter() - started, "sizes": vars(sizes)}


def _trained(benign: Features, calibration: Features, tail: ServedTail, file: Path) -> Trained:
    if file.exists():
        kept: Trained = torch.load(file, weights_only=False)  # our own, written by the line below
        return kept
    found = fit(benign, calibration, tail, Settings())
    torch.save(found, file)
    return found


def _rivals(benign: Features, calibration: Features, trained: Trained, sizes: Sizes) -> dict[str, evaluate.Scorer]:
    rng = np.random.default_rng(SEED)
    found: dict[str, evaluate.Scorer] = {}
    x, fresh = (noise.mixture(f.x[:4000], trained.reference, rng) for f in (benign, calibration))
    for name, rival in baselines(trained.reference, SEED).items():
        if name in ("mse", "paper"):
            rival._epochs = getattr(sizes, name)  # type: ignore[attr-defined]
        rival.fit(x, fresh)
        found[name] = partial(_alone, rival)
    return found


def _decisions(trained: Trained, benign: Features, test: Features, made: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """One-class decisions on the same statistics of the features alone: mean AUROC over the attacks under the trained noise, and false
    alarms under noise never met of a threshold for 5 % under the trained."""
    rng, net = np.random.default_rng(SEED + 1), trained.net

    def statistics(x: Any, kinds: Sequence[str]) -> Any:
        with torch.no_grad():
            noisy = torch.from_numpy(noise.mixture(x, trained.reference, rng, kinds))
            return torch.cat([net.residuals(net.summary(p)) for p in noisy.split(250)]).numpy()

    known, fresh, unknown = (statistics(x, k) for x, k in (
        (benign.x[:3000], noise.TRAINED), (test.x, noise.TRAINED), (test.x, noise.HELD_OUT)))
    attacked = {n: statistics(x, noise.TRAINED) for n, x in made.items() if n not in (*GENUINE, KNOWING)}
    found = {}
    for rival, fitted in RIVALS.items():
        score = fitted(known)
        usual = score(fresh).astype(np.float64)
        values = [auroc(usual, score(a).astype(np.float64)).value for a in attacked.values()]
        found[rival] = {"auroc": float(np.mean(values)), "false": float((score(unknown) > np.quantile(usual, 0.95)).mean())}
    return found


def _alone(rival: Baseline, x: Any, exits: Any, answers: Any) -> Any:
    """A rival sees the features alone."""
    return rival.score(x)


def _accuracy(tail: ServedTail, test: Features, trained: Trained) -> dict[str, float]:
    """Of the tail on benign test features under the trained noise, by strength: what the noise itself costs."""
    rng = np.random.default_rng(SEED)
    return {s: float((tail.predict(noise.mixture(test.x, trained.reference, rng, strengths=(s,))) == test.y).mean())
            for s in noise.STRENGTHS}


def _latency(cut: Cut, trained: Trained, tail: ServedTail, test: Features) -> dict[str, Any]:
    """Of the exported file, beside the tail; and of the published sizes, whose time does not hang on what was learned."""
    tensor, exits = cut.tensors[0]["name"], test.exits[:50, -1] if cut.head_exits else None
    x, served = test.x[:50], cut.tail.SerializeToString()
    answers = tail.scores(x)
    file = network.export(trained.net, trained.about(tensor, cut.head_exits[-1] if cut.head_exits else "", "cifar10", 0))
    few = test.part(slice(0, 300))
    large = fit(few, few, tail, Settings(variant="paper", epochs=1, vae_steps=1))
    published = network.export(large.net, large.about(tensor, "", "none", 0))
    with Detector(file) as loaded:
        ours = loaded.scores(x, exits, answers)
        worst = float(np.abs(ours - trained.net.run(x, exits, answers)[0][:, 2 if exits is None else 3]).max())
    return {"compact": evaluate.latency(file, served, x, exits, answers), "alone": evaluate.latency(file, served, x, None, answers),
            "paper": evaluate.latency(published, served, x, exits, answers, 50),
            "bytes": {"compact": len(file), "paper": len(published)}, "engine_torch_difference": worst}


def time_again(found: dict[str, Any], work: Path, zoo: Path) -> dict[str, Any]:
    """An entry with its latency measured anew, on what its run left in `work`; nothing else of it changes."""
    torch.set_num_threads(1)
    model, tensor, sizes = zoo / found["network"] / "model.onnx", found["tensor"], Sizes(**found["sizes"])
    place = POINTS[found["network"]].index(tensor)
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    kept = work / f"{found['network']}-{place}-{digest[:8]}.pt"
    if not kept.exists():
        raise DataError(f"{kept}: expected the detector of an entry of this model; found none; make the entry again: --anew")
    cut = Splitter(str(model)).cut([tensor])
    test = features_of.features(model, tensor, "test", work / "features", count=sizes.test)
    trained: Trained = torch.load(kept, weights_only=False)  # our own, written by `_trained`
    return found | {"latency": _latency(cut, trained, ServedTail(cut.tail), test)}


def _wanted(zoo: Path, only: Sequence[str] | None) -> list[tuple[str, int]]:
    """Networks and places. OptionError for one that is not in POINTS, DataError where the zoo has none of them."""
    every = {f"{n}:{k}": (n, k) for n in POINTS for k in range(len(POINTS[n]))}
    if unknown := [o for o in only or () if o not in every]:
        raise OptionError(f"--only: expected one of {', '.join(every)}; found {unknown[0]!r}")
    found = [every[o] for o in only or every if (zoo / every[o][0] / "model.onnx").exists()]
    if not found:
        raise DataError(f"{zoo}: expected a folder with NETWORK/model.onnx for {', '.join(POINTS)}; found none; "
                        "run it in the project's root, or name the folder: --zoo")
    return found


def command(
    work: Annotated[Path, typer.Option(help="Keeps features, attacked features and results of entries.")],
    out: Annotated[Path | None, typer.Option(help="Write detection-results.md and detection.png here.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="NETWORK:PLACE, repeatable; without it all that the zoo has.")] = None,
    train: Annotated[int, typer.Option(help="Images that train.")] = Sizes.train,
    attacked: Annotated[int, typer.Option(help="Test images that are attacked.")] = Sizes.attacked,
    paper: Annotated[int, typer.Option(help="Epochs of the published pipeline's autoencoder.")] = Sizes.paper,
    without: Annotated[list[str] | None, typer.Option(help="Attacks to leave out, repeatable (cw takes longest).")] = None,
    anew: Annotated[bool, typer.Option(help="Make entries again that are in WORK.")] = False,
    time_only: Annotated[bool, typer.Option(help="Measure only the times of the entries in WORK anew (seconds each).")] = False,
    zoo: Annotated[Path, typer.Option(help="Folder of the networks.")] = Path("models/zoo"),
) -> None:
    """Make the entries that are not in WORK yet, then the report of all that are."""
    wanted = _wanted(zoo, only)
    work.mkdir(parents=True, exist_ok=True)
    for name, place in wanted:
        file = work / f"{name}-{place}.json"
        if time_only:
            if file.exists():
                found = time_again(json.loads(file.read_text(encoding="utf-8")), work, zoo)
                file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        elif anew or not file.exists():
            sizes = Sizes(train=train, attacked=attacked, paper=paper)
            found = entry(zoo, name, place, sizes, work, [a for a in ATTACKS if a not in (without or ())])
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if out is not None:
        files = [f for n in POINTS for k in range(len(POINTS[n])) if (f := work / f"{n}-{k}.json").exists()]
        write([json.loads(f.read_text(encoding="utf-8")) for f in files], out)


def main() -> int:
    """The command; errors as one line and their exit code."""
    try:
        typer.run(command)
    except EdgeRunError as e:
        fail("error", str(e))
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
