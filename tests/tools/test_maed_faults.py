"""The measurement of MAED's fault models: corrupted words, false alarms, detection, intervals and the page."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from edgerun.executors.engine import available
from edgerun_tools import maed_engine, maed_faults, maed_rows, maed_terms
from edgerun_tools.maed_words import MODELS, WHOLE, cases, corrupt
from edgerun_tools.rates import Rate

needs_scipy = pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="intervals need SciPy (extra campaign)")
needs_engine = pytest.mark.skipif(not available(), reason="the C++ engine is not built")
DTYPES = [np.float32, np.float64]


def words(values: np.ndarray) -> np.ndarray:
    return values.view(np.uint32 if values.dtype == np.float32 else np.uint64).astype(np.uint64)


def ones(bits: np.ndarray) -> np.ndarray:
    return np.array([int(b).bit_count() for b in bits])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("model", "bits"), [c for c in cases() if c[0] not in WHOLE])
def test_bits_are_struck_in_the_mantissa_only(model, bits, dtype) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(4000).astype(dtype)
    struck = corrupt(values, model, bits, rng)
    changed = words(values) ^ words(struck)
    assert int(changed.max()) < 1 << (np.finfo(dtype).nmant)
    assert ones(changed).max() == bits
    if "stuck" in model:  # bits go one way
        assert not (changed & (words(values) if model.endswith("1") else ~words(values))).any()
    if model == "burst flip":  # adjacent, none lost
        runs = changed // (changed & (~changed + np.uint64(1)))
        assert set(runs.tolist()) == {(1 << bits) - 1}


def test_all_bits_of_the_word_can_be_struck() -> None:
    values = np.ones(20_000, np.float32)
    changed = words(values) ^ words(corrupt(values, "flip", 2, np.random.default_rng(0), width=32))
    assert np.bitwise_or.reduce(changed) == 2**32 - 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_skipped_word_is_zero_and_an_altered_one_keeps_its_scale(dtype) -> None:
    values = np.array([0.0, 0.002, 7.0, 123.0], dtype).repeat(5000)
    rng = np.random.default_rng(0)
    assert not corrupt(values, "skip", 0, rng).any()
    altered = corrupt(values, "alter", 0, rng).reshape(4, -1).astype(np.float64)
    np.testing.assert_allclose(altered.std(axis=1), [0.0, 0.001, 1.0, 100.0], rtol=0.05)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match="skip, flip"):
        corrupt(np.ones(1), "drop", 1, np.random.default_rng(0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", maed_terms.METHODS)
@pytest.mark.parametrize(("function", "exact"), [("sigmoid", lambda x: 1 / (1 + np.exp(-x))), ("tanh", np.tanh), ("exp", np.exp)])
def test_every_method_computes_the_function(function, exact, method, dtype) -> None:
    x = np.linspace(-3, 3, 2001).astype(dtype)
    y = maed_terms.trial(method, function, x, np.random.default_rng(0)).clean
    error = np.abs(y.astype(np.float64) - exact(x.astype(np.float64)))
    assert y.dtype == dtype
    # Maclaurin sums cancel for negative operands, and 30 terms end too early for e^-6; ours do not
    bound = 16 * np.finfo(dtype).eps if method == "ours" else max(400 * float(np.finfo(dtype).eps), 2e-9)
    assert (error <= bound * np.maximum(np.abs(exact(x.astype(np.float64))), 1)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", maed_terms.FUNCTIONS)
@pytest.mark.parametrize("spread", [3, 10, 30])
def test_our_identity_raises_no_false_alarm(function, spread, dtype) -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(-spread, spread, 200_000).astype(dtype)
    assert not maed_terms.trial("ours", function, x, rng).alarm.any()


@pytest.mark.parametrize(("function", "spread", "least", "most"), [
    ("sigmoid", 5, 0.0, 0.0), ("sigmoid", 10, 30, 40), ("tanh", 3, 0.0, 0.0), ("tanh", 5, 20, 30), ("tanh", 10, 58, 68),
])
def test_the_published_program_alarms_as_it_was_found_to(function, spread, least, most) -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(-spread, spread, 50_000)
    share = Rate.count(maed_terms.trial("program", function, x, rng).alarm).share
    assert share is not None and least <= share <= most


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", maed_terms.FUNCTIONS)
@pytest.mark.parametrize(("model", "bits"), cases())
def test_ours_finds_what_is_well_beyond_its_bound(function, model, bits, dtype) -> None:
    rng = np.random.default_rng(4)
    x = rng.uniform(-3, 3, 3000).astype(dtype)
    seen = maed_terms.trial("ours", function, x, rng, model, bits, 3)
    off = np.abs(seen.faulty.astype(np.float64) - seen.clean)
    far = ~(off <= 2 * maed_terms.bound(dtype) * np.abs(seen.clean))
    assert far.sum() > 300
    assert seen.alarm[far].all()


@needs_scipy
@pytest.mark.parametrize(("hits", "trials"), [(0, 50), (1, 50), (25, 50), (50, 50), (9731, 10_000)])
def test_the_interval_is_that_of_the_binomial_tails(hits, trials) -> None:
    """Clopper and Pearson's definition: at either end the observed count is just as far as 2.5 %."""
    from scipy.stats import binom

    low, high = (v / 100 for v in Rate(hits, trials).interval() or (0, 0))
    assert low == 0 if hits == 0 else binom.sf(hits - 1, trials, low) == pytest.approx(0.025)
    assert high == 1 if hits == trials else binom.cdf(hits, trials, high) == pytest.approx(0.025)


def test_a_share_of_nothing_is_unknown() -> None:
    rate = Rate.count(np.zeros(3, bool), np.zeros(3, bool))
    assert (rate.share, rate.interval(), rate.text(True)) == (None, None, "–")


def test_relu_idempotence_misses_what_ours_finds() -> None:
    rows = {r.fault: r for r in maed_engine.relu_rows(20_000, np.random.default_rng(5))}
    assert all(r.ours.share == 100 for r in rows.values())
    assert rows["skipped: y = 0"].idempotence.share == 0
    assert rows["clamp skipped: y = x"].idempotence.share == 100
    assert 3 < (rows["one bit flipped"].idempotence.share or 0) < 6


@needs_engine
@pytest.mark.parametrize("activation", maed_engine.ACTIVATIONS, ids=lambda a: a.op)
@pytest.mark.parametrize("model", MODELS)
def test_the_engine_finds_faults_beyond_the_bound(activation, model) -> None:
    seen = maed_engine.engine_trials(activation, model, 60, np.random.default_rng(6), width=32)
    assert not seen.found[~seen.changed].any()
    assert seen.beyond.any()
    assert np.count_nonzero(seen.found & seen.beyond) >= 0.75 * np.count_nonzero(seen.beyond)


@needs_engine
@pytest.mark.parametrize("op", maed_engine.PUBLISHED)
def test_ours_raises_no_alarm_where_the_published_does(op) -> None:
    (activation,) = [a for a in maed_engine.ACTIVATIONS if a.op == op]
    ours, published = (maed_engine.false_alarms(activation, 300, np.random.default_rng(7), c, 10) for c in ("maed", "maed-paper"))
    assert ours.hits == 0
    assert (published.hits > 0) == (op != "Relu")


@needs_scipy
@needs_engine
def test_the_command_writes_a_page_and_json(tmp_path, capsys) -> None:
    page = tmp_path / "faults.md"
    assert maed_faults.main(["--trials", "20", "--json", "--write", str(page)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {x["schema"] for x in lines} == {maed_rows.SCHEMA}
    counts = {kind: sum(x["row"] == kind for x in lines) for kind in ("terms", "clean", "relurow", "engine", "alarms")}
    assert counts == {"terms": 3 * 42 * 5, "clean": 3 * 5 * 3, "relurow": 5, "engine": (15 + 8) * 16, "alarms": 8 * 3}
    text = page.read_text(encoding="utf-8")
    assert text.count("| burst stuck-at-0 | 6 | 5 |") == 6
    assert all(f"\n| {a.op} |" in text for a in maed_engine.ACTIVATIONS)
    assert "--trials 20" in text


@pytest.mark.parametrize("arguments", [["--trials", "0"], ["--seed", "-1"], ["--only", "everything"]])
def test_wrong_usage_is_refused(arguments, capsys) -> None:
    with pytest.raises(SystemExit):
        maed_faults.main(arguments)
    assert "expected" in capsys.readouterr().err or arguments[0] == "--only"
