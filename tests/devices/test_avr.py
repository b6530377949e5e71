"""The digits perceptron on a simulated ATmega328P: the engine's bits, what verifying its activations costs, and faults in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import firmware_case as case
import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")

from edgerun_tools import avr_faults, avr_maed, avr_nets, avr_page, avr_paper, data
from edgerun_tools.boards.inject import SKIP, Fault
from edgerun_tools.boards.runner import run
from edgerun_tools.rates import Rate

ZOO = Path(__file__).parents[2] / "models/zoo"
pytestmark = pytest.mark.skipif(bool(case.missing("atmega328p")), reason=case.missing("atmega328p"))
PICTURES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("avr")


@pytest.fixture(scope="module")
def forms(folder):
    return {net.name: net for net in avr_nets.nets(ZOO, folder)}


@pytest.fixture(scope="module")
def measured(forms, folder):
    """int8 without and with checks: (cost, results)."""
    x, y, _ = data.digits("test")
    return [avr_maed.cost(forms["int8"], checks, x[:PICTURES], y[:PICTURES], folder) for checks in ("off", "maed")]


def test_int8_has_the_engines_bits(measured):
    for found, seen in measured:
        assert seen.selftest == 0
        assert found.equal == found.pictures == PICTURES


def test_verifying_costs_less_than_a_hundredth(measured):
    (off, _), (on, seen) = measured
    assert off.cycles < on.cycles < 1.01 * off.cycles
    assert {s.report["checks_passed"] for s in seen.samples} == {2}
    assert off.ram + off.stack < 512


def test_float_fits_too(forms, folder):
    x, y, _ = data.digits("test")
    found, seen = avr_maed.cost(forms["float32"], "maed", x[:2], y[:2], folder)
    assert {s.status for s in seen.samples} == {0}
    assert found.off < 1e-5
    assert seen.image.whole.flash < 32 * 1024


def struck(forms, folder, measured, faults):
    """The samples of a run with these faults, all in the second picture."""
    x = data.digits("test")[0][:3]
    net = forms["int8"]
    work, image = folder / "int8_maed_work", measured[1][1].image
    seen = run(folder / "int8_maed", avr_nets.BOARD, net.feeds(x), faults=faults, image=image, keep=work)
    assert seen.ok
    np.testing.assert_array_equal(seen.outputs(), net.truth(x))
    return seen.samples


@pytest.mark.parametrize("layer", [0, 1])
def test_a_wrong_byte_is_found_and_cured(layer, forms, folder, measured):
    one = avr_faults.layers_of(measured[1][1].image, avr_maed.LAYERS)[layer]
    at, register = one.stores[1]
    clean, hit, after = struck(forms, folder, measured, [Fault(1, f"{at}#{one.pairs_before + 5}", f"register {register}", 0x10)])
    assert (clean.report["faults"], after.report["faults"]) == (0, 0)
    assert (hit.status, hit.report["faults"], hit.report["recomputed"], hit.report["first_step"]) == (0, 1, 1, 1 + 2 * layer)


def test_every_skipped_instruction_of_the_loop_is_found_or_harmless(forms, folder, measured):
    """Harmless: where what the instruction would have done was so already; the answer is right throughout."""
    one = avr_faults.layers_of(measured[1][1].image, avr_maed.LAYERS)[0]
    net, work = forms["int8"], folder / "int8_maed_work"
    x = data.digits("test")[0][:len(one.loop)]
    faults = [Fault(k, f"{at}#7", SKIP) for k, at in enumerate(sorted(one.loop))]
    seen = run(folder / "int8_maed", avr_nets.BOARD, net.feeds(x), faults=faults, image=measured[1][1].image, keep=work)
    assert seen.ok
    np.testing.assert_array_equal(seen.outputs(), net.truth(x))
    assert sum(s.report["faults"] > 0 for s in seen.samples) > len(one.loop) // 2


def test_trials_are_counted(forms, folder, measured):
    image = measured[1][1]
    layers = avr_faults.layers_of(image.image, avr_maed.LAYERS)
    x = data.digits("test")[0][:PICTURES]
    made = avr_faults.term_trials(layers, "flip", 1, 1, 20, np.random.default_rng(1))
    firmware, work = folder / "int8_maed", folder / "int8_maed_work"
    tally = avr_faults.campaign(forms["int8"], firmware, image, x, made, work, avr_faults.Tally("flip", 1, 1))
    assert (tally.trials, tally.found, tally.cured, tally.masked, tally.missed) == (20, 20, 20, 0, 0)
    costs = [c for c, _ in measured]
    others = [replace(c, net=n) for n in ("int8, float32 at its ends", "float32") for c in costs]
    skipped = avr_faults.Tally("instruction skipped", trials=3, found=2, ended=1, masked=1)
    published = [avr_paper.Published("as published", 1000.0, 1100.0, Rate(1, 10))]
    text = avr_page.page([*costs, *others], 0, 100, [tally, skipped], (64, 24), published)
    assert "| as published | 1,000 | 1,100 | +10.0 % | 10.00 (0.25–44.50) |" in text
    assert "| flip | 1 | 1 | 0.00 | 100.00 (83.16–100.00) | 100.00 | 0 | 0.00 (0.00–16.84) |" in text
    assert "| instruction skipped | 33.33 | 33.33 | 100.00" in text


def test_pictures_are_different_and_begin_with_the_set():
    x = avr_nets.moved(2000)
    assert len(np.unique(x.reshape(len(x), -1), axis=0)) > 1990
    np.testing.assert_array_equal(x[:1797], data.digits()[0])
