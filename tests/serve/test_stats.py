"""Rolling windows: sums, percentiles against NumPy's, bounded memory, and that a claim is not taken for a device."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from edgerun.errors import OptionError
from edgerun.serve.condition import OTHERS, UNVERIFIED, Condition, ModelCondition
from edgerun.serve.events import Event
from edgerun.serve.rings import LOWEST_MS, PER_OCTAVE, Names, bucket, percentile
from edgerun.serve.scores import SAMPLE, Scores
from edgerun.serve.snapshot import SHOWN
from edgerun.serve.stats import EXITS, RECENT, Stats


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stats(clock):
    return Stats(lambda: Condition(models={"net": ModelCondition(detector=True)}), clock=clock)


def event(device="cam-1", outcome="ok", **more):
    given = {"time": 0.0, "device": device, "model": "net", "transport": "http", "outcome": outcome}
    if outcome == "ok":
        given |= {"latency_ms": 2.0, "compute_ms": 1.0, "exit": "exit1"}
    return Event(**given | more)


def test_percentiles_are_those_of_the_times_within_a_bucket(stats, clock):
    times = np.random.default_rng(3).lognormal(1.0, 0.8, 5000)
    for t in times:
        stats(event(latency_ms=float(t)))
    found = stats.snapshot()["latency_ms"]
    width = 2 ** (1 / PER_OCTAVE)
    for name, share in (("p50", 50), ("p90", 90), ("p99", 99), ("p999", 99.9)):
        exact = np.percentile(times, share, method="inverted_cdf")
        assert exact / width <= found[name] <= exact * width, name
    assert found["max"] == pytest.approx(times.max(), rel=1e-3)


@pytest.mark.parametrize("ms", [-1.0, 0.0, float("nan"), LOWEST_MS, 1e-9, 0.5, 3.0, 1e6, float("inf")])
def test_every_time_has_a_bucket(ms):
    counts = np.zeros(208, np.uint32)
    counts[bucket(ms)] += 1
    found = percentile(counts, 0.99)
    if 0.5 <= ms <= 1e5:
        assert found == pytest.approx(ms, rel=0.09)
    else:
        assert found > 0


def test_a_window_forgets(stats, clock):
    stats(event())
    clock.now += 30
    stats(event(exit="exit2"))
    assert stats.snapshot()["requests"] == 2
    clock.now += 45  # the first is 75 s old, the second 45 s
    assert stats.snapshot()["requests"] == 1 and stats.snapshot()["exits"] == [{"exit": "exit2", "count": 1, "share": 1.0}]
    assert stats.snapshot("15min")["requests"] == 2
    clock.now += 3600
    for window in ("60s", "15min"):
        gone = stats.snapshot(window)
        assert gone["requests"] == 0 and gone["devices"] == [] and gone["latency_ms"]["p50"] is None


def test_a_slot_of_an_earlier_turn_is_not_counted_again(stats, clock):
    """60 slots later the same slot is used for another second."""
    stats(event())
    clock.now += 60
    stats(event())
    series = stats.snapshot()["series"]["ok"]
    assert sum(series) == 1 and series[-1] == 1


def test_the_rate_counts_only_the_time_that_has_been(stats, clock):
    clock.now += 4
    for _ in range(8):
        stats(event())
    assert stats.snapshot()["rate_per_s"] == pytest.approx(2.0)


@pytest.mark.parametrize(("reason", "counted"), [("signature", UNVERIFIED), ("key_unknown", UNVERIFIED), ("too_large", UNVERIFIED),
                                                 ("replay", "cam-1"), ("shape", "cam-1"), ("overload", "cam-1")])
def test_who_only_claims_to_be_a_device_is_not_counted_as_one(stats, reason, counted):
    """An attacker without a key must not be able to blame a device, nor to fill the table."""
    stats(event())
    stats(event(outcome="rejected", reason=reason))
    rows = {d["device"]: d for d in stats.snapshot()["devices"]}
    assert rows[counted]["rejected"] == 1
    assert [(r["reason"], r["count"]) for r in stats.snapshot()["reasons"]] == [(reason, 1)]


def test_claimed_names_take_no_room(stats):
    for k in range(500):
        stats(event(f"fake-{k}", "rejected", reason="signature"))
    now = stats.snapshot()
    assert [d["device"] for d in now["devices"]] == [UNVERIFIED] and now["devices_seen"] == 0
    assert len(now["recent"]) == RECENT and {r["device"] for r in now["recent"]} == {UNVERIFIED}


def test_the_device_silent_for_longest_makes_room(clock):
    stats = Stats(Condition, devices=3, clock=clock)
    for name in ("a", "b", "c", "a", "d"):
        stats(event(name))
        clock.now += 1
    assert {d["device"] for d in stats.snapshot()["devices"]} == {"a", "c", "d"}


def test_devices_in_trouble_are_shown_first(clock):
    stats = Stats(Condition, devices=200, clock=clock)
    for k in range(100):
        for _ in range(2 if k else 1):
            stats(event(f"cam-{k:03}", latency_ms=1))
    stats(event("cam-000", "attack", reason="attack", attack_score=3.0, threshold=1.0))
    for _ in range(2):
        stats(event("cam-050", "attack", reason="attack", attack_score=3.0, threshold=1.0))
    now = stats.snapshot()
    assert len(now["devices"]) == SHOWN and now["devices_seen"] == 100
    assert [d["device"] for d in now["devices"][:3]] == ["cam-050", "cam-000", "cam-001"]


def test_more_exits_than_are_told_apart_share_a_column(stats):
    for k in range(EXITS + 5):
        stats(event(exit=f"exit{k}"))
    found = {e["exit"]: e["count"] for e in stats.snapshot()["exits"]}
    assert found[OTHERS] == 5 and len(found) == EXITS + 1


def test_scores_stand_against_the_threshold(stats, clock):
    for k in range(100):
        attack = k % 10 == 0
        score = 2.0 + k / 100 if attack else 0.5
        stats(event(outcome="attack" if attack else "ok", reason="attack" if attack else "", attack_score=score, threshold=1.25))
    found = stats.snapshot()["attack"]["net"]
    assert (found["scored"], found["above"], found["threshold"], found["highest"][-1]) == (100, 10, 1.25, 2.9)
    assert len(found["sample"][-1]) == SAMPLE and set(found["sample"][:-1][0]) == set()


def test_the_sample_of_scores_is_fair():
    """Each of 60 scores is kept with probability SAMPLE / 60: over 3000 rounds the first and the last alike."""
    kept = np.zeros(60)
    for seed in range(3000):
        scores = Scores(1, 1e9, seed)
        for k in range(60):
            scores.add(0.0, float(k), 1.0)
        kept[[int(v) for v in scores.window(0.0)[0].sample]] += 1
    expected = 3000 * SAMPLE / 60
    assert abs(kept - expected).max() < 5 * np.sqrt(expected)


def test_scores_of_models_that_are_not_served_are_not_kept(stats):
    stats(event(model="../../etc", attack_score=1.0, threshold=2.0))
    stats(event(model="../../etc", outcome="rejected", reason="model_unknown"))
    assert stats.snapshot()["attack"] == {} and stats.snapshot()["recent"][0]["model"] == "(unknown)"


def test_memory_does_not_grow_with_what_comes(clock):
    """Ten thousand devices, reasons and exits of the wire's choosing: as much memory as a thousand of them."""
    stats = Stats(Condition, devices=64, clock=clock)

    def flood(start: int, count: int) -> None:
        for k in range(start, start + count):
            clock.now += 0.01
            stats(event(f"d{k}", exit=f"e{k}", findings=1, attack_score=1.0, threshold=2.0))
            stats(event(f"d{k}", "rejected", reason=f"r{k}", model=f"m{k}"))
        stats.json()

    flood(0, 1000)
    tracemalloc.start()
    flood(1000, 1000)
    before = tracemalloc.get_traced_memory()[0]
    flood(2000, 2000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 100_000, f"{grown} bytes"


def test_json_is_strict(stats):
    stats(event("cam-1", latency_ms=float("inf"), attack_score=float("nan"), threshold=1.0, difficulty=float("nan")))
    stats(event("cam-1", attack_score=float("inf"), threshold=float("inf")))
    text = stats.json()
    parsed = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert parsed["schema"] == "edgerun.status/1" and parsed["requests"] == 2


def test_an_unknown_window_is_refused(stats):
    with pytest.raises(OptionError, match="60s or 15min"):
        stats.snapshot("1y")


def test_a_snapshot_is_made_at_most_twice_a_second(stats, clock):
    stats(event())
    assert stats.snapshot()["requests"] == 1
    stats(event())
    assert stats.snapshot()["requests"] == 1
    clock.now += 0.6
    assert stats.snapshot()["requests"] == 2


def test_names_beyond_the_most_are_one():
    names = Names(2)
    assert [names.column(n) for n in ("a", "b", "c", "d", "a")] == [0, 1, 2, 2, 0] and len(names) == 3
