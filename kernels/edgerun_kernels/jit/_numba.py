"""Numba where it is installed, otherwise the same names without it.

`HAVE_NUMBA` tells a kernel whether its compiled loop is fast; without Numba it takes its NumPy formulation instead.
Never fastmath: NaN and range guards would be compiled away.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

try:
    if os.environ.get("EDGERUN_NUMBA") == "0":
        raise ImportError("switched off by EDGERUN_NUMBA=0")
    import numba

    HAVE_NUMBA = True
except ImportError:
    HAVE_NUMBA = False


def njit(function: F) -> F:
    """Compile a loop over arrays; cached on disk, so only the first run on a machine pays for it."""
    if not HAVE_NUMBA:
        return function
    compiled: Any = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")(function)
    return cast(F, compiled)
