"""Kernels of edgerun: numbers only, arrays in, arrays out. Knows no graph, node or file.

Every name of the catalogue (docs/kernels.md) exists in C++ (`_native`, where the extension was built) and in Python
(`registry.KERNELS`), with the same operands, attributes and corner cases.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["isa", "isas", "native_available", "native_names", "python_names"]


def _extension() -> Any:
    """The extension module, or None where it was not built or cannot be loaded."""
    try:
        return import_module("edgerun_kernels._native")
    except ImportError:
        return None


def native_available() -> bool:
    """Whether the C++ kernels were built and can be loaded on this machine."""
    return _extension() is not None


def isa() -> str:
    """Instruction set the C++ kernels use on this CPU (environment EDGERUN_ISA forces one), "" without them."""
    native = _extension()
    return str(native.isa()) if native else ""


def isas() -> list[str]:
    """Instruction sets that are compiled in and supported by this CPU, best first."""
    native = _extension()
    return [str(name) for name in native.isas()] if native else []


def native_names() -> list[str]:
    """Names of the C++ kernels, sorted; empty without them."""
    native = _extension()
    return sorted(str(name) for name in native.names()) if native else []


def python_names() -> list[str]:
    """Names of the Python kernels, sorted."""
    from edgerun_kernels.registry import KERNELS

    return sorted(KERNELS)
