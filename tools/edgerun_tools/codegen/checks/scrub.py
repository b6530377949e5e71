"""CRC-32C of the constants of a program, for kernels/c/scrub.c."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

from edgerun_tools.codegen.text import array

POLYNOMIAL = 0x82F63B78
"""Castagnoli's, reflected."""
SHARE = 0.01
"""Of a run's instructions, that scrubbing may take; twice as much where buffers are verified, too."""
PER_BYTE, PER_MAC = 7, 2
"""Instructions, about."""
LEAST = 64


@cache
def table() -> tuple[int, ...]:
    """CRC of every byte."""
    found = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
        found.append(crc)
    return tuple(found)


def crc32c(data: bytes) -> int:
    """CRC-32C (RFC 3720)."""
    crc, of = 0xFFFFFFFF, table()
    for byte in data:
        crc = of[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def slice_bytes(macs: int, total: int, double: bool) -> int:
    """How many bytes a run verifies."""
    return max(1, min(total, max(LEAST, int(macs * PER_MAC * SHARE * (2 if double else 1) / PER_BYTE))))


def source(images: Iterable[tuple[int, str, bytes]]) -> str:
    """The blocks (step, name, bytes), and the table. Bytes are those of a little-endian core, as all meant are."""
    rows = [f"  {{{name}, {len(data)}u, 0x{crc32c(data):08x}u, {step}}}," for step, name, data in images]
    rows[-1] = rows[-1].rstrip(",")
    return array("er_crc_table", "uint32_t", np.array(table())) + "\nstatic const er_block er_blocks[] = {\n" + "\n".join(rows) + "\n};\n"

