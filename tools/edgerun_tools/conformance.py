"""The ONNX node tests on every executor: `python -m edgerun_tools.conformance`.

Every case is a model of one node with inputs and expected outputs, made by the `onnx` package itself. It goes through
importer and planner like any model and counts as

    native    every step is a kernel of ours, and the outputs agree (what is known ahead of time, as a Shape, is folded)
    fallback  the plan has a step that onnx.reference runs, and the outputs agree
    failing   an error, or outputs that disagree; the reason says which

A plan is static, so what an operator needs ahead of time (the shape of a Reshape, the weights of a Conv) has to be in
the model, while the cases feed it. A case that is not native as it stands is therefore tried once more with all inputs
but the first turned into constants ("bound"). Results are then computed from the first input at run time, never folded.
"""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import onnx
import onnx.version_converter
import typer
from onnx import numpy_helper
from rich.progress import track
from rich.table import Table

from edgerun.executors import engine
from edgerun.executors.base import Executor
from edgerun.executors.dynamic import DynamicExecutor
from edgerun.executors.python import PythonExecutor
from edgerun.importer import load
from edgerun.importer.fold import RANDOM
from edgerun.importer.read import OLDEST_OPSET
from edgerun.ops.registry import LEGALISERS
from edgerun.planner import make_plan
from edgerun.planner.plan import Plan
from edgerun.planner.select import RESOLVED
from edgerun.planner.whole import is_whole_model
from edgerun_tools.common import answers, errors
from edgerun_tools.conformance_page import page, worst

Status = Literal["native", "fallback", "failing"]
_ORDER: tuple[Status, ...] = ("failing", "fallback", "native")
RTOL, ATOL = 1e-3, 1e-5
UNITS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Distance of neighbours at 1. The expected outputs round every intermediate result, we only the last: two neighbours may differ."""


@dataclass(frozen=True)
class Case:
    """One node test. operator: of its first node; a case named `…_expanded` holds the function body of it."""

    name: str
    operator: str
    model: onnx.ModelProto
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a case on one executor. bound: inputs but the first were made constants."""

    case: str
    operator: str
    executor: str
    status: Status
    bound: bool = False
    reason: str = ""


@cache
def cases() -> dict[str, Case]:
    """All node tests of the installed onnx by name (1,884 in onnx 1.23.2). Takes seconds: their data are computed."""
    from onnx.backend.test.case.node import collect_testcases

    found = {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    for case in collected:
        inputs, outputs = case.data_sets[0]
        nodes = case.model.graph.node
        found[case.name] = Case(case.name, nodes[0].op_type if nodes else "", _modern(case.model),
                                tuple(map(_value, inputs)), tuple(map(_value, outputs)))
    return found


def _modern(model: onnx.ModelProto) -> onnx.ModelProto:
    """Three cases declare opset 1, older than the importer reads; converted as its error message advises."""
    old = any(o.domain == "" and o.version < OLDEST_OPSET for o in model.opset_import)
    return onnx.version_converter.convert_version(model, OLDEST_OPSET) if old else model


def _value(value: Any) -> Any:
    """Arrays and scalars as arrays, protos as arrays, sequences as lists of them, None as it is."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, (list, tuple)):
        return [_value(v) for v in value]
    return value if value is None else np.asarray(value)


def implemented() -> frozenset[str]:
    """ONNX operators that this project has kernels for, resolves ahead of time, or runs node by node."""
    return frozenset(LEGALISERS) | RESOLVED


def covers(case: Case) -> bool:
    """Whether all operators of the case are implemented."""
    return {n.op_type for n in case.model.graph.node} <= implemented() and all(
        n.domain in ("", "ai.onnx") for n in case.model.graph.node
    )


def run_case(case: Case, executor: str) -> Outcome:
    """Import, plan, run and compare one case on "python" or "engine"."""
    outcome = _attempt(case, case.model, case.inputs, executor, bound=False)
    if outcome.status == "native" or not _can_bind(case):
        return outcome
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for port, value in list(zip(case.model.graph.input, case.inputs, strict=False))[_dynamic(case) :]:
        # It stays listed as an input, as files before IR version 4 want it; the importer lets the constant win.
        model.graph.initializer.append(numpy_helper.from_array(value, port.name))
    again = _attempt(case, model, case.inputs[: _dynamic(case)], executor, bound=True)
    return max(outcome, again, key=lambda o: (_ORDER.index(o.status), o.bound))


def _dynamic(case: Case) -> int:
    """How many inputs stay run-time inputs when a case is bound. ConstantOfShape has but its shape."""
    return 0 if case.operator == "ConstantOfShape" else 1


def _can_bind(case: Case) -> bool:
    rest = case.inputs[_dynamic(case) :]
    return bool(rest) and all(isinstance(v, np.ndarray) and (v.dtype.kind in "fiub" or v.dtype.name == "bfloat16") for v in rest)


def _attempt(case: Case, model: onnx.ModelProto, inputs: Sequence[Any], executor: str, bound: bool) -> Outcome:
    def outcome(status: Status, reason: str = "") -> Outcome:
        return Outcome(case.name, case.operator, executor, status, bound, reason)

    try:
        # A model declares symbolic shapes here and there; the case's own arrays settle them.
        shapes = {p.name: v.shape for p, v in zip(model.graph.input, inputs, strict=False) if isinstance(v, np.ndarray)}
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            plan = make_plan(load(model, shapes=shapes))
        runner = _executor(plan, executor)
        results = runner.run(inputs).outputs
        by_reference = getattr(runner, "fell_back", 0)
        runner.close()
    except Exception as e:  # whatever goes wrong is the result that is reported
        return outcome("failing", f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}")
    reason = difference(case.outputs, results)
    if reason:
        drawn = any(n.op_type in RANDOM for n in case.model.graph.node)
        return outcome("failing", f"{reason} (random: the expected numbers are those of one generator)" if drawn else reason)
    if plan.fallbacks or by_reference:
        return outcome("fallback", "; ".join(_reasons(plan, [str(w.message) for w in said])))
    return outcome("native")


def _reasons(plan: Plan, warned: Sequence[str]) -> list[str]:
    """Why the reference had to help, from the planner's list; of a model that runs node by node, from its warning."""
    known = sorted({f"{op}: {why}" for _, _, op, why in plan.fallbacks})
    whole = [re.sub(r"^.*?: |; the model runs node by node.*", "", w) for w in warned if "the model runs node by node" in w]
    return known or sorted(set(whole)) or ["no kernel for these operands"]


def _executor(plan: Plan, name: str) -> Executor:
    # What the engine has no kernel for runs on the Python executor, whatever was asked for; so does Session.
    if is_whole_model(plan):
        return DynamicExecutor(plan, lambda part: _executor(part, name))
    if name == "python" or engine.unsupported(plan):
        return PythonExecutor(plan, lambda part: _executor(part, name))
    return engine.EngineExecutor(plan)


def difference(expected: Sequence[Any], found: Sequence[Any]) -> str:
    """What disagrees, or "". Integers and booleans must be equal, floats within RTOL (halves: two units) and ATOL, NaN where expected."""
    if len(expected) != len(found):
        return f"expected {len(expected)} outputs, found {len(found)}"
    for k, (e, f) in enumerate(zip(expected, found, strict=True)):
        if isinstance(e, list) and isinstance(f, list):
            reason = difference(e, f)
        elif isinstance(e, np.ndarray) and isinstance(f, np.ndarray):
            reason = _array_difference(e, f)
        else:
            reason = "" if e is None and f is None else f"expected {type(e).__name__}, found {type(f).__name__}"
        if reason:
            return f"output {k}: {reason}"
    return ""


def _array_difference(expected: np.ndarray, found: np.ndarray) -> str:
    text = expected.dtype.kind in "OU" and found.dtype.kind in "OU"
    if (expected.dtype != found.dtype and not text) or expected.shape != found.shape:
        return f"expected {expected.dtype}{list(expected.shape)}, found {found.dtype}{list(found.shape)}"
    if expected.dtype.kind in "fV":  # V: bfloat16, float8 and the like
        rtol = max(RTOL, 2 * UNITS.get(expected.dtype.name, 0.0))
        equal = np.allclose(found.astype(np.float64), expected.astype(np.float64), rtol, ATOL, equal_nan=True)
    else:
        equal = np.array_equal(expected, found)
    return "" if equal else "values differ"


def executors() -> tuple[str, ...]:
    """The executors that can run here."""
    return ("python", "engine") if engine.available() else ("python",)


def run_all(names: Iterable[str], on: Sequence[str]) -> list[Outcome]:
    """Outcomes of many cases, with a progress bar on stderr."""
    everything = cases()
    todo = [(everything[n], e) for n in names for e in on]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [run_case(c, e) for c, e in track(todo, "ONNX node tests", console=errors, transient=True)]


def write_expectations(outcomes: Sequence[Outcome], folder: Path) -> None:
    """native.txt: cases native on every executor; other.txt: other cases of implemented operators, with the reason."""
    everything, by_case = cases(), worst(outcomes)
    native = sorted(n for n, o in by_case.items() if o.status == "native")
    rest = ((n, o) for n, o in by_case.items() if o.status != "native" and covers(everything[n]))
    other = sorted(f"{n}\t{o.status}\t{o.reason}" for n, o in rest)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "native.txt").write_text("".join(f"{n}\n" for n in native), encoding="utf-8")
    (folder / "other.txt").write_text("".join(f"{line}\n" for line in other), encoding="utf-8")


def _table(outcomes: Sequence[Outcome], executor: str) -> Table:
    rows: dict[str, Counter[str]] = {}
    for o in outcomes:
        rows.setdefault(o.operator, Counter())[o.status] += 1
    table = Table(title=f"ONNX node tests, executor {executor}, onnx {onnx.__version__}")
    for column in ("operator", "native", "fallback", "failing"):
        table.add_column(column, justify="left" if column == "operator" else "right")
    for operator in sorted(rows):
        table.add_row(operator, *(str(rows[operator][s] or "") for s in ("native", "fallback", "failing")))
    total = sum(rows.values(), Counter())
    table.add_section()
    table.add_row(f"all {len(outcomes)}", *(str(total[s]) for s in ("native", "fallback", "failing")))
    return table


app = typer.Typer(add_completion=False)


@app.command()
def main(
    executor: Annotated[list[str] | None, typer.Option(help="python, engine; all that can run without it.")] = None,
    only: Annotated[str, typer.Option(help="Only cases whose name or operator contains this.")] = "",
    covered: Annotated[bool, typer.Option("--implemented", help="Only cases of implemented operators.")] = False,
    reasons: Annotated[bool, typer.Option(help="List every case that is not native, with the reason.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    write: Annotated[Path | None, typer.Option(help="Folder for native.txt and other.txt (tests/conformance).")] = None,
    page_file: Annotated[Path | None, typer.Option("--page", help="File for the results by operator (docs/conformance.md).")] = None,
) -> None:
    """Run the node tests and print, for every operator, how many cases are native, run by fallback, or fail."""
    if (write is not None or page_file is not None) and (only or covered or executor):
        raise typer.BadParameter("--write and --page list all cases on all executors; leave --only, --implemented, --executor out")
    on = tuple(executor) if executor else executors()
    wanted = only.lower()
    names = [n for n, c in cases().items() if wanted in f"{n} {c.operator}".lower() and (covers(c) or not covered)]
    outcomes = run_all(names, on)
    if write is not None:
        write_expectations(outcomes, write)
    if page_file is not None:
        everything = cases()
        page_file.write_text(page(outcomes, {n for n in names if covers(everything[n])}, onnx.__version__), encoding="utf-8")
    if as_json:
        totals = {e: Counter(o.status for o in outcomes if o.executor == e) for e in on}
        print(json.dumps({"onnx": onnx.__version__, "cases": len(names), "totals": totals,
                          "outcomes": [asdict(o) for o in outcomes]}))
        return
    for e in on:
        mine = [o for o in outcomes if o.executor == e]
        answers.print(_table(mine, e))
        if reasons:
            for o in mine:
                if o.status != "native":
                    answers.print(f"{o.status:9}{o.case}: {o.reason}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    app()
