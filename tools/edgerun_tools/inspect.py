"""`edgerun inspect`: what a model says about itself, and the plan it was made into."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from edgerun import Session
from edgerun.planner import show
from edgerun_tools import common
from edgerun_tools.common import answers


def command(
    model: common.Model,
    as_json: common.AsJson = False,
    shape: common.Shape = None,
    exit_policy: common.ExitPolicy = "none",
    checks: common.Checks = "maed",
    executor: common.Executor = "auto",
    strict: common.Strict = False,
    max_memory: common.MaxMemory = None,
    timeout: common.Timeout = None,
    bound: common.Bound = None,
) -> None:
    """Show inputs, outputs, exits and calibration; then steps, shapes, kernels, checks, fallbacks and the memory map.

    Nothing is run. For a quantised model it says which layers run in int8 and why the others do not (docs/int8.md).
    Steps marked onnx_reference have no kernel of ours and run slowly; --strict refuses them.
    JSON schema: "edgerun.inspect/1".

    Examples:

      edgerun inspect model.onnx

      edgerun inspect model.onnx --exit-policy dart --json

      edgerun inspect detector.onnx --shape image=1x3x480x640
    """
    with Session(model, shapes=common.parse_shapes(shape), exit_policy=exit_policy, checks=checks, executor=executor,
                 strict=strict, **common.bounds(max_memory, timeout, bound)) as session:
        facts = gather(session)
        if as_json:
            common.print_json({"schema": "edgerun.inspect/1", "model": model, **facts, "plan": show.summary(session.plan)})
            return
        for name, value in facts.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            answers.print(f"[bold]{name.replace('_', ' '):11}[/bold] {escape(text) or '–'}", soft_wrap=True)
        answers.print()
        answers.print(show.describe(session.plan), markup=False, soft_wrap=True, end="")


def gather(session: Session) -> dict[str, Any]:
    """What the model file says, and who would run it."""
    c = session.calibration
    return {
        "inputs": [str(i) for i in session.inputs],
        "outputs": [str(o) for o in session.outputs],
        "opset": session.opset,
        "exits": list(session.exits),
        "labels": _shortened(session.labels),
        "preprocess": session.preprocess.to_json() if session.preprocess else "",
        "calibrated": f"on {c.data.get('images', '?')} images of {c.data.get('name', '?')}: "
                      f"{', '.join(c.policies)}" if c else "",
        "executor": session.executor_name,
    }


def _shortened(labels: tuple[str, ...], most: int = 12) -> list[str]:
    return list(labels) if len(labels) <= most else [*labels[:most], f"… ({len(labels)} in all)"]
