"""The source distribution: everything a build needs, nothing that a build made."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs the source tree")


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> set[str]:
    backend = pytest.importorskip("scikit_build_core.build")
    out = tmp_path_factory.mktemp("sdist")
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        archive = backend.build_sdist(str(out))
    finally:
        os.chdir(before)
    with tarfile.open(out / archive) as tar:
        return {n.split("/", 1)[1] for n in tar.getnames() if "/" in n}


@pytest.mark.parametrize("needed", [
    "pyproject.toml", "CMakeLists.txt", "cmake/kernels.cmake", "cmake/engine.cmake", "LICENSE", "README.md",
    "runtime/engine/edgerun.h", "runtime/edgerun/py.typed", "kernels/cpp/registry.inc", "tests/engine/CMakeLists.txt",
])
def test_it_has(names, needed):
    assert needed in names


def test_it_has_nothing_built(names):
    assert not [n for n in names if n.endswith((".so", ".o", ".a", ".pyc")) or n.startswith(("build", "dist", ".git/"))]
