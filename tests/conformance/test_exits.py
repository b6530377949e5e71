"""Every executor leaves at the same exit, with the same scores, for every policy; what it did not compute is None."""

from __future__ import annotations

import pytest
from exit_plans import EXITS, POLICIES, image, plan_of

from edgerun.executors import engine
from edgerun.executors.python import PythonExecutor
from edgerun.planner.plan import Policy


@pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", POLICIES)
def test_executors_leave_at_the_same_exit(name: str, seed: int) -> None:
    plan, feeds = plan_of(POLICIES[name]), [image(seed)]
    readable, fast = PythonExecutor(plan).run(feeds), engine.EngineExecutor(plan, 1).run(feeds)
    assert (fast.exit_index, fast.n_exits, fast.classes) == (readable.exit_index, readable.n_exits, readable.classes)
    assert (fast.steps_run, fast.values_checked) == (readable.steps_run, readable.values_checked)
    assert fast.scores == pytest.approx(readable.scores, abs=1e-6)
    assert fast.difficulty == pytest.approx(readable.difficulty, abs=1e-6)
    assert [o is None for o in fast.outputs] == [o is None for o in readable.outputs]
    assert [o is None for o in fast.outputs] == [k > readable.exit_index for k in range(EXITS)]
    assert (fast.findings, readable.findings) == ((), ())


def test_the_policies_reach_every_exit() -> None:
    reached = {PythonExecutor(plan_of(p)).run([image(seed)]).exit_index for p in POLICIES.values() for seed in range(8)}
    assert reached == {0, 1, 2}


@pytest.mark.skipif(not engine.available(), reason="the C++ engine is not built")
@pytest.mark.parametrize("bit", [22, 27, 30, 31])
def test_executors_find_the_same_fault(bit: int) -> None:
    plan, feeds = plan_of(Policy()), [image(3)]
    readable, fast = PythonExecutor(plan), engine.EngineExecutor(plan, 1)
    readable.arm_fault(1, 7, 1 << bit)
    fast.arm_fault(1, 7, 1 << bit)
    (a,), (b,) = readable.run(feeds).findings, fast.run(feeds).findings
    assert (b.step, b.node, b.kernel) == (a.step, a.node, a.kernel)
    assert b.check == a.check
    assert (readable.run(feeds).findings, fast.run(feeds).findings) == ((), ())
