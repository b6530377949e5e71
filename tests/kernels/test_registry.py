"""One list of kernels: C++ and Python have the same names, and the C++ list is sorted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kernel_case import each_isa, native

from edgerun_kernels.registry import KERNELS

REGISTRY = Path(__file__).resolve().parents[2] / "kernels" / "cpp" / "registry.inc"


def registered() -> list[str]:
    return re.findall(r"^EDGERUN_KERNEL\((\w+)\)$", REGISTRY.read_text(encoding="utf-8"), re.MULTILINE)


def test_registry_is_sorted_and_has_no_duplicates():
    names = registered()
    assert names == sorted(set(names))


@each_isa
def test_every_instruction_set_has_every_kernel(isa):
    assert sorted(native.names(isa)) == registered()


@each_isa
def test_the_name_of_a_kernel_is_its_symbol(isa):
    assert native.names(isa) == registered()


def test_python_has_what_native_has_and_the_other_way_round():
    native_names, python_names = set(native.names()), set(KERNELS)
    assert native_names - python_names == set(), "no Python kernel"
    assert python_names - native_names == set(), "no C++ kernel"


def test_an_unknown_kernel_is_an_error():
    with pytest.raises(KeyError, match="no kernel 'no_such'"):
        native.call("no_such", [], {}, [])
