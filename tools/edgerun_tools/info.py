"""`edgerun info`: what is installed here and what this machine can do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

from rich.table import Table

import edgerun
import edgerun_kernels
from edgerun.options import default_threads
from edgerun_tools import common
from edgerun_tools.common import answers

PEERS = {"onnxruntime": "onnxruntime", "litert": "ai-edge-litert", "tflite": "tflite-runtime", "openvino": "openvino",
         "mnn": "MNN"}
"""Name shown → distribution."""


def command(as_json: common.AsJson = False) -> None:
    """Show version, executor, instruction sets, kernels, threads, and which other runtimes are installed.

    Examples:

      edgerun info

      edgerun info --json
    """
    facts = gather()
    if as_json:
        common.print_json({"schema": "edgerun.info/1", **facts})
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    for key, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items()) or "none"
        elif isinstance(value, list):
            value = ", ".join(map(str, value)) or "none"
        table.add_row(key.replace("_", " "), str(value))
    answers.print(table)


def gather() -> dict[str, Any]:
    """Everything `info` shows, as plain values."""
    build = edgerun.build_info()
    return {
        "version": edgerun.__version__,
        "executor": build["executor"],
        "engine_missing_because": build["engine_error"] or "–",
        "instruction_set": edgerun_kernels.isa() or "none (Python kernels)",
        "instruction_sets_available": edgerun_kernels.isas(),
        "kernels": {"native": len(edgerun_kernels.native_names()), "python": len(edgerun_kernels.python_names())},
        "numba": _version("numba") or "not installed (Python kernels run on NumPy)",
        "compiler": build["compiler"] or "unknown",
        "threads_by_default": default_threads(),
        "cpu": cpu_model(),
        "logical_cpus": os.cpu_count(),
        "governor": governor() or "unknown",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {n: _version(n) or "missing" for n in ("numpy", "onnx", "onnx-ir", "pillow")},
        "peers": {name: v for name, dist in PEERS.items() if (v := _version(dist))},
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The processor's name as the kernel reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    for key in ("model name", "Model", "Hardware"):
        for line in lines:
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return platform.machine()


def governor() -> str | None:
    """Frequency governor of the first core ("performance", "ondemand" …), None where the system does not say."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None
