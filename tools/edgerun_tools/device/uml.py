"""A command under a kernel of its own: Debian's user-mode-linux with this machine's files as its own, and netem among its modules."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgerun.errors import OptionError

MODULES = ("net/sched/sch_netem.ko", "drivers/net/veth.ko")
KEPT = ("PATH", "PYTHONPATH", "HOME", "EDGERUN_DATA", "OMP_NUM_THREADS")


def why_not() -> str:
    """Why this machine cannot do it; "" where it can."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("linux.uml") is None or not _modules():
        return "needs Debian's user-mode-linux (apt install user-mode-linux)"
    return "" if shutil.which("insmod") else "needs insmod (apt install kmod)"


def _modules() -> list[Path]:
    """Of the newest kernel that is installed."""
    for folder in sorted(Path("/usr/lib/uml/modules").glob("*"), reverse=True):
        found = [folder / "kernel" / m for m in MODULES]
        if all(f.is_file() for f in found):
            return found
    return []


def run(words: Sequence[str], memory: str = "2G", timeout_s: float = 7200) -> str:
    """Standard output of a command that is run there, in this folder, as root. OptionError where it fails, with the end of its errors."""
    if reason := why_not():
        raise OptionError(f"--uml: {reason}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        init = folder / "init"
        kept = [f"export {k}={shlex.quote(os.environ[k])}" for k in KEPT if k in os.environ]
        init.write_text("\n".join([
            "#!/bin/sh", "mount -t proc proc /proc", "mount -t sysfs sys /sys", "mount -t tmpfs tmpfs /run",
            "mkdir -p /dev/shm", "mount -t tmpfs tmpfs /dev/shm", *kept,
            "export PATH=$PATH:/usr/sbin:/sbin", *(f"insmod {m}" for m in _modules()), "ip link set lo up",
            f"cd {shlex.quote(os.getcwd())}",
            f"{shlex.join(words)} > {folder}/out 2> {folder}/err < /dev/null", f"echo $? > {folder}/rc", "sync", "poweroff -f", ""]))
        init.chmod(0o755)
        with open(folder / "console", "w", encoding="utf-8") as console:
            subprocess.run(["linux.uml", "rootfstype=hostfs", "rootflags=/", "rw", f"mem={memory}", f"init={init}", "con=null",
                            "con0=fd:0,fd:1"], stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=timeout_s)
        ended = (folder / "rc").read_text().strip() if (folder / "rc").exists() else "no exit code"
        if ended != "0":
            said = folder / ("err" if (folder / "err").exists() else "console")
            raise OptionError(f"--uml: expected the command to succeed; found {ended}: {said.read_text(errors='replace')[-2000:]}")
        return (folder / "out").read_text(encoding="utf-8")
