"""A small client of the GDB remote serial protocol, for the stub of QEMU: memory, registers, breakpoints, steps.

Protocol: "Debugging with GDB", appendix E. Only what fault injection needs; no dependency, and nothing of GDB itself.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
import xml.etree.ElementTree as ET
from pathlib import Path

from edgerun_tools.boards.errors import BoardError

POLL, START = 0.01, 60.0
"""Seconds between two tries to connect, and for all of them."""


class Ended(Exception):
    """The emulated program is gone: it ended, or the emulator did."""


class Gdb:
    """A connection to a stub. Addresses in bytes; values are unsigned integers of the target's width, little endian."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        """Connect to the stub's socket as soon as it is there. BoardError when it does not come, or speaks otherwise. timeout: seconds from
        then on; the emulator's own start has START, since a busy machine may take longer for it than for a run."""
        self._until = time.monotonic() + START
        self._socket = self._connect(path)
        self._until = time.monotonic() + timeout
        self._buffer = b""
        self._breakpoints: set[int] = set()
        self._ask("qSupported:xmlRegisters=arm")
        self._registers = self._describe()

    def _connect(self, path: Path) -> socket.socket:
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(path))
                return connection
            except OSError as e:
                connection.close()
                if time.monotonic() > self._until:
                    raise BoardError(f"{path}: expected the emulator's debugger socket; found: {e}") from e
                time.sleep(POLL)

    # -- packets ------------------------------------------------------------------------------------------------------

    def _send(self, text: str) -> None:
        data = text.encode("ascii")
        try:
            self._socket.sendall(b"$" + data + b"#%02x" % (sum(data) & 0xFF))
        except OSError as e:
            raise Ended from e

    def _receive(self) -> str:
        """The next packet; TimeoutError when time is up."""
        while (found := re.search(rb"\$([^#]*)#[0-9a-f]{2}", self._buffer)) is None:
            self._socket.settimeout(max(0.001, self._until - time.monotonic()))
            try:
                data = self._socket.recv(1 << 16)
            except (ConnectionError, BrokenPipeError) as e:
                raise Ended from e
            if not data:
                raise Ended
            self._buffer += data
        self._buffer = self._buffer[found.end():]
        with contextlib.suppress(OSError):  # the program's end needs no answer
            self._socket.sendall(b"+")
        return found[1].decode("latin-1")

    def _ask(self, text: str) -> str:
        self._send(text)
        return self._receive()

    def _do(self, text: str) -> None:
        answer = self._ask(text)
        if answer != "OK":
            raise BoardError(f"debugger stub: expected OK to {text[:20]!r}; found {answer[:40]!r}")

    def _document(self, name: str) -> str:
        text = ""
        while True:
            answer = self._ask(f"qXfer:features:read:{name}:{len(text):x},ffb")
            if answer[:1] not in ("m", "l"):
                raise BoardError(f"debugger stub: expected the description {name}; found {answer[:40]!r}")
            text += answer[1:]
            if answer[0] == "l":
                return text

    def _describe(self) -> dict[str, tuple[int, int]]:
        """Register → (number, bytes): numbers count up through all documents of the target's description."""
        found: dict[str, tuple[int, int]] = {}
        names = re.findall(r'xi:include href="([^"]+)"', self._document("target.xml"))
        number = 0
        for name in names:
            text = re.sub(r"<!DOCTYPE[^>]*>", "", self._document(name))
            for register in ET.fromstring(text).iter("reg"):
                number = int(register.get("regnum", number))
                found[str(register.get("name"))] = (number, int(register.get("bitsize", "32")) // 8)
                number += 1
        return found

    # -- what it is for -----------------------------------------------------------------------------------------------

    @property
    def registers(self) -> tuple[str, ...]:
        """Names of all registers, as the stub describes them."""
        return tuple(self._registers)

    def read(self, address: int, size: int) -> int:
        """A little-endian number from memory."""
        answer = self._ask(f"m{address:x},{size:x}")
        if len(answer) != 2 * size:
            raise BoardError(f"debugger stub: expected {size} bytes at {address:#x}; found {answer[:40]!r}")
        return int.from_bytes(bytes.fromhex(answer), "little")

    def write(self, address: int, value: int, size: int) -> None:
        """Write memory: RAM and flash, not registers of devices."""
        self._do(f"M{address:x},{size:x}:{value.to_bytes(size, 'little').hex()}")

    def _register(self, name: str) -> tuple[int, int]:
        if name not in self._registers:
            raise BoardError(f"register {name}: expected one of {', '.join(self._registers)}")
        return self._registers[name]

    def read_register(self, name: str) -> int:
        number, _ = self._register(name)
        return int.from_bytes(bytes.fromhex(self._ask(f"p{number:x}")), "little")

    def write_register(self, name: str, value: int) -> None:
        number, size = self._register(name)
        self._do(f"P{number:x}={value.to_bytes(size, 'little').hex()}")

    def set_breakpoint(self, address: int) -> None:
        self._do(f"Z0,{address:x},2")
        self._breakpoints.add(address)

    def clear_breakpoint(self, address: int) -> None:
        self._do(f"z0,{address:x},2")
        self._breakpoints.discard(address)

    def step(self) -> int:
        """One instruction; returns the program counter then. Ended when the program ends."""
        return self._resume("s")

    def go(self) -> int:
        """Continue to the next breakpoint, which may be the same one; returns the program counter. Ended when the program ends."""
        here = self.read_register("pc")
        if here in self._breakpoints:  # the stub would stop at once: step over it
            self._do(f"z0,{here:x},2")
            there = self.step()
            self._do(f"Z0,{here:x},2")
            if there in self._breakpoints:
                return there
        return self._resume("c")

    def _resume(self, how: str) -> int:
        answer = self._ask(how)
        while answer[:1] == "O":  # output of the program
            answer = self._receive()
        if answer[:1] in ("W", "X"):
            raise Ended
        return self.read_register("pc")

    def let_go(self) -> None:
        """Detach: the program goes on by itself."""
        with contextlib.suppress(Ended, OSError, BoardError):
            self._ask("D")
        self.close()

    def close(self) -> None:
        self._socket.close()
