"""What compilers say of generated C, which is nothing: gcc and clang with every warning asked for, and gcc's analyzer."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from firmware import build
from networks import FLOAT, INT8, ROOT, path_of

from edgerun import Session
from edgerun_tools.codegen.generate import Firmware, of_session
from edgerun_tools.codegen.targets import WARNINGS

EXITS = "zoo/mnist_alexnet"
NAMES = (*FLOAT, *INT8, EXITS)
TABLE = re.compile(r"^static (const (?:u?int\d+_t|float) \w+\[\d+\]) = \{\n.*?^\};", re.S | re.M)


def generated(name: str, checks: str) -> Firmware:
    if name == EXITS:
        path, options = ROOT / "models" / name / "model.onnx", {"exit_policy": "dart"}
    else:
        path, options = path_of(name), {}
    with Session(path, checks=checks, threads=1, **options) as session:
        return of_session(session, "net", name)


@pytest.mark.slow
@pytest.mark.parametrize("checks", ["off", "full"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("compiler", "flags"), [("gcc", ("-O3",)), ("clang", ("-O2",))])
def test_compilers_are_quiet(compiler: str, flags: tuple[str, ...], name: str, checks: str, tmp_path: Path) -> None:
    assert build(generated(name, checks), tmp_path, compiler, flags).run([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("checks", ["off", "full"])
@pytest.mark.parametrize("name", NAMES)
def test_the_analyzer_is_quiet(name: str, checks: str, tmp_path: Path) -> None:
    """With the tables of constants declared and not defined, as in docs/codegen.md: to read them takes it a quarter of an hour."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    generated(name, checks).write(tmp_path)
    text, tables = TABLE.subn(r"extern \1;", (tmp_path / "net.c").read_text(encoding="ascii"))
    assert tables > 0
    (tmp_path / "analyzed.c").write_text(text, encoding="ascii")
    command = ["gcc", *WARNINGS, "-O2", "-fanalyzer", "-c", "analyzed.c", "-o", "analyzed.o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[:3000]
