"""Bounds of operands from the magnitudes of earlier products (check range): which steps get one, and that it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgerun
from edgerun.planner.plan import Slot, Step
from edgerun.planner.protect import protect
from edgerun.planner.reach import MOST_TERMS, Reach, reaches

ZOO = sorted((Path(__file__).parents[2] / "models/zoo").glob("*/model.onnx"))


def arena(name: str, at: int, n: int = 16, dtype: str = "f32") -> Slot:
    return Slot(name, dtype, (1, n), "arena", at)


X = Slot("x", "f32", (1, 16), "input", 0)
W = Slot("w", "f32", (16, 16), "const", 0)
SLOTS = [X, W, arena("a", 0), arena("b", 64), arena("c", 128), arena("d", 192, 32)]
PRODUCT = Step("matmul_f32", (0, 1), (2,))


def of_last(*steps: Step) -> Reach | None:
    return reaches(SLOTS, steps)[-1]


def test_an_operand_is_bounded_by_the_product_it_is_of():
    assert of_last(PRODUCT, Step("matmul_f32", (2, 1), (3,))) == Reach(0.0, {0: 1.0})
    assert of_last(PRODUCT) is None, "nothing is known of inputs"


@pytest.mark.parametrize(("kernel", "attrs", "want"), [
    ("relu_f32", {}, Reach(0.0, {0: 1.0})),
    ("sigmoid_f32", {}, Reach(1.0)),
    ("clip_f32", {"act_alpha": (-1.0,), "act_beta": (6.0,)}, Reach(6.0)),
    ("clip_f32", {"act_alpha": (0.5,), "act_beta": (np.inf,)}, Reach(0.5, {0: 1.0})),
    ("leaky_relu_f32", {"act_alpha": (-2.0,)}, Reach(0.0, {0: 2.0})),
    ("elu_f32", {"act_alpha": (1.5,)}, Reach(1.5, {0: 1.0})),
    ("copy", {}, Reach(0.0, {0: 1.0})),
    ("exp_f32", {}, None),
], ids=str)
def test_what_lies_between_changes_the_bound(kernel, attrs, want):
    assert of_last(PRODUCT, Step(kernel, (2,), (3,), attrs), Step("matmul_f32", (3, 1), (4,))) == want


def test_activations_within_the_product_count():
    bounded = Step("matmul_f32", (0, 1), (2,), {"activation": (2,), "act_alpha": (0.0,), "act_beta": (6.0,)})
    assert of_last(bounded, Step("matmul_f32", (2, 1), (3,))) == Reach(6.0)


def test_residuals_and_sums_add_up():
    steps = [PRODUCT, Step("matmul_f32", (2, 1, -1, 2), (3,)), Step("add_f32", (2, 3), (4,)), Step("matmul_f32", (4, 1), (2,))]
    assert of_last(*steps) == Reach(0.0, {0: 2.0, 1: 1.0})


def test_bytes_that_were_written_over_are_forgotten():
    over = Step("exp_f32", (2,), (2,))
    assert of_last(PRODUCT, over, Step("matmul_f32", (2, 1), (3,))) is None
    assert of_last(PRODUCT, Step("matmul_f32", (5, 1), (3,))) is None, "a view beyond what the product wrote"


def test_plans_that_branch_and_bounds_with_many_terms_are_given_up():
    branch = Step("branch", (0,), (), {"target": (2,)})
    assert of_last(PRODUCT, branch, Step("matmul_f32", (2, 1), (3,))) is None
    many = Reach(by=dict.fromkeys(range(MOST_TERMS), 1.0))
    assert many.plus(Reach(by={99: 1.0})) is None and many.plus(many) == many.times(2.0)


@pytest.mark.parametrize("path", ZOO, ids=lambda p: p.parent.name)
def test_most_products_of_the_zoo_are_bounded(path):
    with edgerun.Session(path, checks="standard") as session:
        products = [s for s in session.plan.steps if any(c.kind == "abft" for c in s.checks)]
        bounded = [s for s in products if any(c.kind == "range" for c in s.checks)]
    assert len(bounded) >= len(products) - 1 - (len(products) > 20)


def test_without_checksums_there_is_nothing_to_go_by():
    with edgerun.Session(ZOO[0], checks="off") as session:
        assert not any(c.kind == "range" for s in protect(session.plan, "range").steps for c in s.checks)
