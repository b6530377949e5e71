"""The window against sets: what was said is remembered in full there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgerun.errors import OptionError
from edgerun.splits.replay import MAX_EPOCH, MAX_SEQ, SIZE, Verdict, Window, next_epoch

FRESH, REPLAYED, TOO_OLD, ROLLBACK = Verdict.FRESH, Verdict.REPLAYED, Verdict.TOO_OLD, Verdict.EPOCH_ROLLBACK


class Oracle:
    """All that was ever accepted, in sets."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.epochs: dict[int, set[int]] = {}

    def accept(self, epoch: int, seq: int) -> Verdict:
        if self.epochs and epoch < max(self.epochs):
            return ROLLBACK
        seen = self.epochs.setdefault(epoch, set())
        if seen and seq + self.size <= max(seen):
            return TOO_OLD
        if seq in seen:
            return REPLAYED
        seen.add(seq)
        return FRESH


class AgainstSets(RuleBasedStateMachine):
    """Small and large windows, steps near the edges of the window and of the numbers."""

    size = 8

    def __init__(self) -> None:
        super().__init__()
        self.window, self.oracle = Window(self.size), Oracle(self.size)
        self.accepted: list[tuple[int, int]] = []
        self.epoch = self.top = 0

    def say(self, epoch: int, seq: int) -> None:
        expected = self.oracle.accept(epoch, seq)
        assert self.window.accept(epoch, seq) is expected
        if expected is FRESH:
            self.accepted.append((epoch, seq))
            self.top = max(self.top, seq) if epoch == self.epoch else seq
            self.epoch = epoch

    @rule(step=st.integers(-20, 20))
    def near_the_last(self, step):
        self.say(self.epoch, min(max(self.top + step, 0), MAX_SEQ))

    @rule(step=st.sampled_from([-1, 0, 1]), side=st.sampled_from([-1, 1]))
    def at_the_edge(self, step, side):
        self.say(self.epoch, min(max(self.top + side * self.size + step, 0), MAX_SEQ))

    @rule(seq=st.one_of(st.integers(0, MAX_SEQ), st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**53, 2**63, MAX_SEQ])))
    def anywhere(self, seq):
        self.say(self.epoch, seq)

    @rule(step=st.integers(1, 3), seq=st.integers(0, 40))
    def start_again(self, step, seq):
        self.say(min(self.epoch + step, MAX_EPOCH), seq)

    @rule(step=st.integers(1, 3), seq=st.integers(0, 40))
    def an_older_start(self, step, seq):
        self.say(max(self.epoch - step, 0), seq)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def replay(self, data):
        assert self.window.accept(*data.draw(st.sampled_from(self.accepted))) is not FRESH

    @invariant()
    def the_memory_is_bounded(self):
        assert self.window.seen.bit_length() <= self.size


class AgainstSetsAtFullSize(AgainstSets):
    size = SIZE


TestWindow = AgainstSets.TestCase
TestWindowAtFullSize = AgainstSetsAtFullSize.TestCase
TestWindow.settings = TestWindowAtFullSize.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


@pytest.mark.parametrize(("said", "expected"), [
    ([(1, 5), (1, 5)], REPLAYED), ([(1, 5), (1, 6), (1, 5)], REPLAYED), ([(1, 5), (1, 5 + SIZE), (1, 5)], TOO_OLD),
    ([(1, 5), (1, 5 + SIZE), (1, 6)], FRESH), ([(1, 9), (1, 7)], FRESH), ([(1, 9), (1, 7), (1, 7)], REPLAYED),
    ([(1, 9), (0, 10)], ROLLBACK), ([(1, 9), (2, 0)], FRESH), ([(1, 9), (2, 0), (1, 10)], ROLLBACK), ([(1, 0), (1, MAX_SEQ)], FRESH),
    ([(1, MAX_SEQ), (1, MAX_SEQ)], REPLAYED),
    ([(1, MAX_SEQ), (1, 0)], TOO_OLD), ([(1, MAX_SEQ), (1, MAX_SEQ - SIZE + 1)], FRESH), ([(MAX_EPOCH, 0), (MAX_EPOCH, 0)], REPLAYED)])
def test_the_cases_of_the_list(said, expected):
    window = Window()
    for epoch, seq in said[:-1]:
        assert window.accept(epoch, seq) is FRESH
    assert window.accept(*said[-1]) is expected


@pytest.mark.parametrize("size", [0, -1, 3, 1000])
def test_sizes_are_powers_of_two(size):
    with pytest.raises(OptionError, match="power of two"):
        Window(size)


def test_each_start_has_a_later_epoch(tmp_path):
    assert [next_epoch(tmp_path / "epoch") for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("text", ["", "x", "-5", str(MAX_EPOCH), "1e3"])
def test_a_damaged_counter_is_not_guessed(tmp_path, text):
    (tmp_path / "epoch").write_text(text)
    with pytest.raises(OptionError, match="new key"):
        next_epoch(tmp_path / "epoch")
    assert (tmp_path / "epoch").read_text() == text


def test_an_epoch_in_use_survives_kill_9(tmp_path):
    """A process that counts up as fast as it can is killed; what it had said it uses is never given out again."""
    code = ("import sys\nfrom edgerun.splits.replay import next_epoch\n"
            "while True: print(next_epoch(sys.argv[1]), flush=True)")
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "epoch")], stdout=subprocess.PIPE, text=True,
                           env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert run.stdout is not None
    said = [int(run.stdout.readline()) for _ in range(5)]
    run.send_signal(signal.SIGKILL)
    said += [int(line) for line in run.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    run.wait()
    run.stdout.close()
    assert said == list(range(1, len(said) + 1)) and next_epoch(tmp_path / "epoch") > said[-1]
