"""Checksums and ranges of float products in the Python executor: what the engine tells of a struck network, it tells, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgerun import Fault, Session
from edgerun.executors.python import PythonExecutor

ZOO = Path(__file__).resolve().parents[2] / "models/zoo"
MODELS = {name: ZOO / name / "model.onnx" for name in ("mnist_alexnet", "cifar10_resnet18")}
HUGE = 0x60
"""As the highest byte: about 4e19, which no result of these networks is near, and which no product makes infinite."""


def open_(name: str, executor: str) -> Session:
    return Session(MODELS[name], checks="maed,abft,range", executor=executor, on_fault="flag", threads=1, nonfinite="allow")


def image(session: Session, kind: str) -> np.ndarray:
    shape = session.fixed_inputs[0].shape
    rng = np.random.default_rng(5)
    return {"noise": rng.normal(size=shape), "zeros": np.zeros(shape), "large": rng.normal(size=shape) * 1e15,
            "denormal": rng.normal(size=shape) * 1e-40}[kind].astype(np.float32)


@pytest.mark.parametrize("kind", ["noise", "zeros", "large", "denormal"])
@pytest.mark.parametrize("name", MODELS)
def test_clean_runs_are_silent(name, kind):
    with open_(name, "python") as session:
        assert session.run(image(session, kind)).checks.findings == ()


def strikes(plan, x):
    """(step, byte, mask): a product, and what makes the largest element of its operand huge."""
    executor = PythonExecutor(plan)
    makers = {out: k for k, s in enumerate(plan.steps) for out in s.outputs}
    for step, s in enumerate(plan.steps):
        all_read = s.attrs.get("strides", (1, 1)) == (1, 1)
        if "range_of" in s.attrs and s.inputs[0] in makers and all_read:
            executor.capture(makers[s.inputs[0]])
            executor.run([x])
            values = np.frombuffer(executor.captured(), np.float32)
            index = int(np.argmax(values))
            yield step, 4 * index + 3, values.view(np.uint8)[4 * index + 3] ^ HUGE


@pytest.mark.parametrize("executor", ["engine", "python"])
@pytest.mark.parametrize("name", MODELS)
def test_a_damaged_exponent_between_two_products_is_told(name, executor):
    """Struck in memory, where no checksum of a kernel sees it: the next product's operand is out of range."""
    with open_(name, executor) as session:
        x = image(session, "noise")
        found = list(strikes(session.plan, x))
        assert len(found) >= 4
        for step, index, mask in found[::2]:
            session.inject(Fault("input", step, index, int(mask)))
            told = session.run(x).checks.findings
            assert any(f.check == "range" and f.step == step and f.got > f.bound > 0 for f in told), (step, told)
            session.heal()
            assert session.run(x).checks.findings == ()
