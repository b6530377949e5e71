"""The fault list of a campaign: sizes, strata, and that it depends on nothing but the plan."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerun.errors import OptionError
from edgerun_tools.faults import models, plan, stats
from edgerun_tools.faults.places import Place, covering

pytest.importorskip("scipy")
BIG = [Place("accumulator", k, 500 * (k + 1), 32) for k in range(5)]
SMALL = [Place("skip", k, 1, 0) for k in range(3)]
BYTES = Place("weights", 2, 40, 8, stride=1)
WORDS = Place("buffer", 4, 25, 32, stride=4)
DESIGN = plan.Design(seed=3, inputs=10, margin=0.05)


def made(places, design=DESIGN):
    return plan.faults(plan.quotas(places, design), design)


def test_a_site_gets_its_sample_size_and_every_step_its_share():
    quotas = plan.quotas(BIG, DESIGN)
    population = sum(p.faults for p in BIG) * DESIGN.inputs
    assert sum(quotas.values()) == stats.sample_size(population, 0.05, 0.95)
    shares = [quotas[p] / p.elements for p in BIG]
    assert max(shares) - min(shares) < 0.01


def test_small_steps_get_the_minimum():
    places = [Place("result", 0, 100_000, 32), Place("result", 1, 10, 32)]
    assert plan.quotas(places, DESIGN)[places[1]] == DESIGN.least


def test_a_population_that_is_small_is_done_exhaustively():
    design = plan.Design(seed=1, inputs=4, margin=1e-6, models=("bit",))
    faults = made([*SMALL, BYTES], design)
    assert len({(f.site, f.step, f.index, f.mask, f.input) for f in faults}) == len(faults) == 3 * 4 + 40 * 8 * 4


@pytest.mark.parametrize("place", [BIG[4], BYTES, WORDS], ids=lambda p: p.site)
def test_bits_take_turns(place):
    design = plan.Design(seed=5, inputs=7, margin=0.02, models=("bit",))
    hit = Counter(f.bit for f in made([place], design))
    assert set(hit) == set(range(place.bits))
    assert max(hit.values()) - min(hit.values()) <= 1


def test_models_are_mixed_as_said():
    found = Counter(f.model for f in made([BIG[4]]))
    total = sum(found.values())
    assert set(found) == set(models.BITS)
    assert found["bit"] / total == pytest.approx(0.5, abs=0.02)


def test_memory_is_hit_at_whole_values_and_within():
    faults = made([WORDS])
    assert all(f.index % 4 == 0 and 0 <= f.index < 100 for f in faults)


def test_order_and_faults_depend_on_the_seed_only():
    assert made(BIG) == made(BIG)
    assert made(BIG) == made(list(reversed(BIG)))
    assert made(BIG) != made(BIG, plan.Design(seed=4, inputs=10, margin=0.05))
    assert [f.id for f in made(BIG)] == list(range(len(made(BIG))))


def test_any_beginning_of_the_list_is_a_sample_of_all_steps():
    beginning = Counter(f.step for f in made(BIG)[:150])
    assert set(beginning) == {p.step for p in BIG}


def test_further_lists_go_on_where_the_first_ended():
    both = plan.faults({BIG[0]: 60}, DESIGN)
    first = plan.faults({BIG[0]: 40}, DESIGN)
    second = plan.faults({BIG[0]: 20}, DESIGN, before={BIG[0]: 40}, first=40)

    def what(faults):
        return {(f.index, f.mask, f.mode, f.input) for f in faults}

    assert what(first) | what(second) == what(both)
    assert not what(first) & what(second)
    assert second[0].id == 40


@given(model=st.sampled_from(list(models.BITS)), bits=st.sampled_from([8, 16, 32, 64]), data=st.data())
def test_masks_have_the_bits_of_their_model(model, bits, data):
    bit, chance = data.draw(st.integers(0, bits - 1)), data.draw(st.integers(0, 2**128))
    mask = models.mask_of(model, bit, bits, chance)
    assert 0 < mask < 1 << bits
    count = {"bit": 1, "stuck0": 1, "stuck1": 1, "adjacent": 2, "double": 2}.get(model)
    assert count is None or mask.bit_count() == count
    assert model != "adjacent" or mask & mask >> 1
    assert model == "word" or mask >> bit & 1 or bit == bits - 1


def test_stuck_bits_stay_and_flips_do_not():
    modes = {f.model: (f.mode, f.runs) for f in made([BIG[4]])}
    assert modes["stuck0"] == ("clear", models.FOREVER) and modes["stuck1"] == ("set", models.FOREVER)
    assert modes["bit"] == ("flip", 1)


def test_places_of_several_presets_are_joined_at_their_largest():
    wide = Place("weights", 2, 48, 8)
    assert covering([[BYTES, SMALL[0]], [wide]]) == [wide, SMALL[0]]


@pytest.mark.parametrize("text", ["", "weights,flux", "all,weights"])
def test_unknown_sites_are_named(text):
    with pytest.raises(OptionError, match="--sites: expected all, or some of weights, buffer"):
        models.choose(text, ("weights", "buffer"), "--sites")
