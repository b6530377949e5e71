"""Reshapes and transposes as index arithmetic: groups of axes, views."""

from __future__ import annotations

import numpy as np
import pytest

from edgerun.passes.views import groups, is_view


@pytest.mark.parametrize(("source", "target", "expected"), [
    ((2, 3, 4), (6, 4), [([0, 1], [0]), ([2], [1])]),
    ((6, 4), (2, 3, 4), [([0], [0, 1]), ([1], [2])]),
    ((1, 9, 5), (1, 1, 3, 3, 5), [([0], [0]), ([1], [1, 2, 3]), ([2], [4])]),
    ((4, 1, 1), (4,), [([0, 1, 2], [0])]),
    ((4,), (4, 1, 1), [([0], [0, 1, 2])]),
    ((2, 6), (3, 4), [([0, 1], [0, 1])]),
])
def test_groups(source, target, expected) -> None:
    assert groups(source, target) == expected


@pytest.mark.parametrize(("shape", "perm", "view"), [
    ((1, 1, 4, 5), (0, 2, 3, 1), True), ((1, 2, 4, 5), (0, 2, 3, 1), False), ((1, 7, 1, 1), (0, 2, 3, 1), True),
    ((2, 3), (0, 1), True), ((2, 3), (1, 0), False), ((1, 3), (1, 0), True),
])
def test_a_view_moves_no_byte(shape, perm, view: bool) -> None:
    x = np.arange(np.prod(shape)).reshape(shape)
    assert is_view(shape, perm) is view
    assert np.array_equal(x.transpose(perm).reshape(-1), x.reshape(-1)) is view
