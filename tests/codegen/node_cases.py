"""The ONNX node tests through generated C: which of them C takes, and whether it agrees. `python tests/codegen/node_cases.py` rewrites
nodes.txt, the list of those it must take."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
from firmware import build, of_plan
from onnx import numpy_helper

from edgerun.errors import EdgeRunError
from edgerun.importer import load
from edgerun.planner import make_plan
from edgerun.planner.plan import Plan
from edgerun_tools import conformance
from edgerun_tools.codegen.pieces import PIECES

HERE = Path(__file__).parent
PLAIN = ("-O0", "-fsanitize=undefined", "-fno-sanitize-recover=all")


def plans(case: conformance.Case, checks: str = "off") -> list[tuple[Plan, list[np.ndarray]]]:
    """The case as it stands, and with all inputs but the first made constants; with the inputs that are left."""
    found = []
    bound = onnx.ModelProto()
    bound.CopyFrom(case.model)
    for port, value in list(zip(case.model.graph.input, case.inputs, strict=False))[1:]:
        if isinstance(value, np.ndarray):
            bound.graph.initializer.append(numpy_helper.from_array(value, port.name))
    for model, inputs in ((case.model, case.inputs), (bound, case.inputs[:1])):
        if not inputs or not all(isinstance(v, np.ndarray) for v in inputs):
            continue
        shapes = {p.name: v.shape for p, v in zip(model.graph.input, inputs, strict=False)}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                plan = make_plan(load(model, shapes=shapes), checks=checks, in_place=checks == "off")
        except EdgeRunError:
            continue
        if plan.steps and not plan.fallbacks and all(s.kernel in PIECES for s in plan.steps):
            found.append((plan, list(inputs)))
    return found


def outcome(case: conformance.Case, folder: Path, checks: str = "off", selftest: bool = True) -> str:
    """"" where C agrees with the case, "refused: …" where the generator does not take it, else what disagrees."""
    reason = "refused: no static plan"
    for plan, inputs in plans(case, checks):
        try:
            firmware = of_plan(plan, case.name, "flag" if checks == "off" else "retry")
        except EdgeRunError as e:
            reason = f"refused: {e}"
            continue
        found = build(firmware, folder, flags=PLAIN).run([inputs], selftest)[0]
        return conformance.difference(case.outputs, [f.astype(e.dtype) if f.dtype.kind == "b" else f
                                                     for f, e in zip(found, case.outputs, strict=True)])
    return reason


def main() -> None:
    """Rewrites nodes.txt and prints what disagrees."""
    native = (HERE.parent / "conformance" / "native.txt").read_text(encoding="utf-8").split()
    cases, taken = conformance.cases(), []
    for name in native:
        with tempfile.TemporaryDirectory() as folder:
            try:
                said = outcome(cases[name], Path(folder))
            except AssertionError as e:
                said = f"broken: {e}"
        if said == "":
            taken.append(name)
        elif not said.startswith("refused"):
            print(name, said[:600], flush=True)
    (HERE / "nodes.txt").write_text("".join(f"{n}\n" for n in taken), encoding="utf-8")
    print(len(taken), "of", len(native))


if __name__ == "__main__":
    main()
