"""The rules of docs/architecture.md that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [ROOT / "runtime" / "edgerun", ROOT / "kernels" / "edgerun_kernels", ROOT / "tools" / "edgerun_tools"]
SOURCES = sorted(p for root in ("runtime", "kernels", "tools", "cmake") for p in (ROOT / root).rglob("*")
                 if p.suffix in (".py", ".cpp", ".h", ".inc", ".cmake"))
pytestmark = pytest.mark.skipif(not (ROOT / "kernels" / "cpp").is_dir(), reason="needs the source tree")

LAYERS = [
    {"edgerun.ort_compat", "edgerun.detect"},
    {"edgerun.session"},
    {"edgerun.plans", "edgerun.stream"},
    {"edgerun.describe", "edgerun.feeds", "edgerun.ledger", "edgerun.result", "edgerun.preprocess"},
    {"edgerun.executors", "edgerun.exits", "edgerun.guards", "edgerun.splits"},
    {"edgerun.planner"},
    {"edgerun.passes"},
    {"edgerun.importer"},
    {"edgerun.ops"},
    {"edgerun.errors", "edgerun.limits", "edgerun.watch", "edgerun.options", "edgerun.about"},
]
"""Top to bottom; nobody imports from a layer above its own."""


def imports(path: Path) -> set[str]:
    """Absolute names of what a module imports when it runs (imports for type checking left out)."""
    names: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [b for b in ast.walk(tree) if isinstance(b, ast.If) and "TYPE_CHECKING" in ast.unparse(b.test)]
    guarded = {id(n) for block in blocks for n in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                inside = path.relative_to(next(p.parent for p in PACKAGES if p in path.parents)).with_suffix("").parts
                base = ".".join([*inside[: -node.level], *([base] if base else [])])
            names.add(base)
            names |= {f"{base}.{a.name}" for a in node.names}
    return names


def layer_of(name: str) -> int | None:
    for level, members in enumerate(LAYERS):
        if any(name == m or name.startswith(m + ".") for m in members):
            return level
    return None


RUNTIME_MODULES = sorted((ROOT / "runtime" / "edgerun").rglob("*.py"))


@pytest.mark.parametrize("path", RUNTIME_MODULES, ids=lambda p: str(p.relative_to(ROOT / "runtime")))
def test_imports_go_down(path):
    own = ".".join(path.relative_to(ROOT / "runtime").with_suffix("").parts).removesuffix(".__init__")
    level = layer_of(own)
    if own == "edgerun":
        return
    assert level is not None, f"{own} has no layer: add it here and to the import contract"
    above = sorted(n for n in imports(path) if (other := layer_of(n)) is not None and other < level)
    assert not above


@pytest.mark.parametrize("path", RUNTIME_MODULES, ids=lambda p: str(p.relative_to(ROOT / "runtime")))
def test_runtime_does_not_know_the_tools(path):
    assert not [n for n in imports(path) if n.split(".")[0] == "edgerun_tools"]


@pytest.mark.parametrize("path", sorted((ROOT / "kernels" / "edgerun_kernels").rglob("*.py")), ids=lambda p: p.name)
def test_kernels_know_nobody(path):
    assert not [n for n in imports(path) if n.split(".")[0] in ("edgerun", "edgerun_tools", "onnx", "onnx_ir")]


def test_kernels_import_alone():
    code = ("import sys, edgerun_kernels; edgerun_kernels.python_names(); edgerun_kernels.native_names(); "
            "print(*sorted(m for m in sys.modules if m.split('.')[0] in ('edgerun', 'edgerun_tools', 'onnx')))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
                          env=_environment())
    assert done.stdout.strip() == ""


def test_import_contract():
    pytest.importorskip("importlinter", reason="import-linter is in the extra dev")
    # not the script `lint-imports`: it is on PATH only where the virtual environment was activated
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    done = subprocess.run([sys.executable, "-c", code, "--no-cache"], capture_output=True, text=True, cwd=ROOT,
                          env=_environment())
    assert done.returncode == 0, done.stdout + done.stderr


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": ":".join(p for p in sys.path if p)}


def test_facade_is_complete():
    import edgerun

    public = {n for n, v in vars(edgerun).items() if not n.startswith("_") and not isinstance(v, type(sys))
              and str(getattr(v, "__module__", "")).startswith("edgerun.")}
    assert public <= set(edgerun.__all__)
    assert sorted(edgerun.__all__) == edgerun.__all__
    assert not [n for n in edgerun.__all__ if not hasattr(edgerun, n)]


def test_every_public_name_is_documented():
    import edgerun

    public = {n: getattr(edgerun, n) for n in edgerun.__all__}
    assert not [n for n, v in public.items() if callable(v) and not (v.__doc__ or "").strip()]


def test_versions_are_equal():
    import edgerun

    written = re.search(r'^version\s*=\s*"([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert written is None or written.group(1) == edgerun.__version__


FORBIDDEN = re.compile(r"-O" r"fast\b|-f(fast|unsafe|finite|associative)" r"-math|fast" r"math\s*=\s*True")
BUILD_FILES = [p for p in (ROOT / "CMakeLists.txt", ROOT / "CMakePresets.json", ROOT / "pyproject.toml") if p.exists()]


@pytest.mark.parametrize("path", [*SOURCES, *BUILD_FILES], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_fast_math(path):
    assert not FORBIDDEN.findall(path.read_text(encoding="utf-8"))


def test_fast_math_stops_the_compiler():
    headers = [p.read_text() for p in (ROOT / "kernels" / "cpp").glob("*.h")]
    assert any("__FAST_MATH__" in text and "#error" in text for text in headers)


def test_registry_is_sorted_and_unique():
    names = re.findall(r"^EDGERUN_KERNEL\((\w+)", (ROOT / "kernels" / "cpp" / "registry.inc").read_text(), re.M)
    assert names
    assert names == sorted(set(names))


@pytest.mark.parametrize("path", sorted((ROOT / "kernels" / "cpp").rglob("*.[ch]*")), ids=lambda p: p.name)
def test_kernel_sources_know_no_python_and_no_engine(path):
    assert not re.findall(r'#include\s*[<"](?:pybind11|Python\.h|.*engine/)', path.read_text())


@pytest.mark.parametrize("path", sorted((ROOT / "runtime" / "engine").glob("*.[ch]*")), ids=lambda p: p.name)
def test_engine_sources_know_no_python(path):
    assert not re.findall(r'#include\s*[<"](?:pybind11|Python\.h)', path.read_text())


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_not_tall(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(path):
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert not [t for t in targets if not (path.parent / t).exists()]
