"""Without a C++ compiler the project still installs, and the Python executor serves. Needs the package index."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs the source tree"),
]

USE = """
import sys, numpy as np, edgerun
from edgerun.executors import engine
assert not engine.available()
with edgerun.Session(sys.argv[1]) as session:
    print(session.run({"a": np.ones((2, 3), np.float32), "b": np.ones((2, 3), np.float32)}).outputs["sum"].sum())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built with no compiler: none on PATH, and CMake is pointed at one that does not exist."""
    work = tmp_path_factory.mktemp("wheel")
    empty = work / "bin"
    empty.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("CC", "CFLAGS", "CXXFLAGS", "CMAKE_ARGS", "PYTHONPATH")}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{empty}", "CXX": str(empty / "c++"), "HOME": str(work)}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-v", "-w", str(work), "-C", f"build-dir={work / 'build'}", str(ROOT)],
        env=environment, capture_output=True, text=True, timeout=900, check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "WITHOUT its C++ engine" in done.stdout + done.stderr
    (found,) = work.glob("edgerun-*.whl")
    return found


def test_the_wheel_has_the_packages_and_no_extension(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert not [n for n in names if n.endswith(".so")]
    packages = {n.split("/")[0] for n in names if n.endswith("__init__.py")}
    assert packages == {"edgerun", "edgerun_kernels", "edgerun_tools"}
    assert "edgerun_kernels/c/base.h" in names  # what `edgerun codegen` writes from


def test_the_python_executor_serves(wheel, tmp_path, add_bytes):
    (tmp_path / "add.onnx").write_bytes(add_bytes)
    target = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(target)
    done = subprocess.run([sys.executable, "-c", USE, "add.onnx"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(target)},
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout) == float(np.full((2, 3), 2).sum())
