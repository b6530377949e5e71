"""The results of a campaign on disk."""

from __future__ import annotations

import json

import pytest

from edgerun.errors import DataError, OptionError
from edgerun_tools.faults import store
from edgerun_tools.faults.store import NAME, Store

HEADER = {"schema": "edgerun.campaign/1", "seed": 1, "model": "m.onnx"}


def rows(*ids: int) -> list[dict]:
    return [{"id": k, "out": {"off": {"outcome": "masked"}}} for k in ids]


def written(folder, *batches, resume=False) -> bytes:
    kept = Store(folder, HEADER, resume=resume)
    for batch in batches:
        kept.add(batch)
    kept.finish()
    return (folder / NAME).read_bytes()


def test_the_finished_file_does_not_depend_on_the_order(tmp_path):
    assert written(tmp_path / "a", rows(0, 1), rows(2, 3)) == written(tmp_path / "b", rows(3), rows(0, 2), rows(1))


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_cut_off_is_done_again(tmp_path, cut):
    whole = written(tmp_path / "whole", rows(0, 1, 2, 3))
    kept = Store(tmp_path / "cut", HEADER, resume=False)
    kept.add(rows(2, 0, 1))
    kept.close()
    file = tmp_path / "cut" / NAME
    file.write_bytes(file.read_bytes()[:-cut])
    again = Store(tmp_path / "cut", HEADER, resume=True)
    missing = {0, 1, 2, 3} - again.done
    assert 3 in missing
    again.add(rows(*missing))
    again.finish()
    assert file.read_bytes() == whole


def test_a_header_that_was_cut_off_begins_anew(tmp_path):
    (tmp_path / NAME).write_bytes(b'{"schema":"edger')
    assert written(tmp_path, rows(0), resume=True) == written(tmp_path / "other", rows(0))


def test_a_finished_campaign_can_be_gone_on_with(tmp_path):
    first = written(tmp_path, rows(1, 0))
    kept = Store(tmp_path, HEADER, resume=True)
    assert kept.done == {0, 1}
    kept.finish()
    assert (tmp_path / NAME).read_bytes() == first


def test_a_result_is_kept_once(tmp_path):
    assert written(tmp_path, rows(0, 1), rows(1, 2)).count(b'"id":1') == 1


def test_results_are_not_written_over(tmp_path):
    written(tmp_path, rows(0))
    with pytest.raises(OptionError, match="--resume"):
        Store(tmp_path, HEADER, resume=False)


def test_results_of_another_campaign_are_refused_naming_the_difference(tmp_path):
    written(tmp_path, rows(0))
    with pytest.raises(DataError, match="another seed: 1 instead of 2"):
        Store(tmp_path, HEADER | {"seed": 2}, resume=True)


def test_reading_leaves_out_what_is_still_being_written(tmp_path):
    kept = Store(tmp_path, HEADER, resume=False)
    kept.add(rows(1))
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"id":2,"ou')
    assert store.read(tmp_path) == (HEADER, rows(1))
    kept.close()


def test_no_results(tmp_path):
    with pytest.raises(DataError, match="expected the results of a campaign"):
        store.read(tmp_path)


def test_lines_are_canonical():
    assert store.canonical({"b": 1, "a": [1.5]}) == b'{"a":[1.5],"b":1}\n'
    with pytest.raises(ValueError):
        store.canonical({"x": float("nan")})
    assert json.loads(store.canonical({"x": "∞"})) == {"x": "∞"}
