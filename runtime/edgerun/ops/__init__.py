"""Operators, one file each: legal forms, which kernels serve them, how they become plan steps.

Adding an operator is one file here (plus a kernel and its registry line): every module of this folder is imported.
"""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
