"""What can go wrong between a firmware folder and its results, apart from the firmware's own faults, which are data."""

from __future__ import annotations

from edgerun.errors import EdgeRunError


class BoardError(EdgeRunError):
    """The firmware cannot be built, or the emulator cannot be used."""


class ToolMissing(BoardError):
    """A compiler or emulator that is not installed; the message names the Debian package."""


class FirmwareError(EdgeRunError):
    """A folder without a usable firmware.json, or whose code does not compile or fit."""

    exit_code = 3
