"""Two network namespaces with a cable between them whose delay, loss and bandwidth the kernel's netem imitates."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from edgerun.errors import OptionError

SERVER_IP, DEVICE_IP = "10.77.0.1", "10.77.0.2"
SERVER_NS, DEVICE_NS = "edgerun-server", "edgerun-device"


@dataclass(frozen=True)
class Link:
    """rtt_ms: round trip; kbit: a second, in each direction; loss: percent of the packets, in each direction."""

    name: str
    rtt_ms: float
    kbit: int
    loss: float


LINKS = (Link("LAN", 1, 100_000, 0), Link("Wi-Fi", 6, 20_000, 0.5), Link("LTE", 50, 10_000, 0.5), Link("slow radio", 500, 50, 1))


def run(*words: str) -> None:
    """OptionError with what the command said."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise OptionError(f"{' '.join(words)}: expected success; found: {(done.stderr or done.stdout).strip()[:300]}")


def why_not() -> str:
    """Why this machine cannot do it; "" where it can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "needs ip and tc (apt install iproute2)"
    name = f"edgerun-probe-{os.getpid()}"
    try:
        run("ip", "netns", "add", name)
        try:
            run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
        finally:
            run("ip", "netns", "delete", name)
    except OptionError as e:
        return f"needs the kernel's netem: {e}"
    return ""


@contextmanager
def cable() -> Iterator[None]:
    """Both namespaces and a veth pair between them, which reach nothing else; taken away at the end."""
    for ns in (SERVER_NS, DEVICE_NS):
        subprocess.run(["ip", "netns", "delete", ns], capture_output=True)
        run("ip", "netns", "add", ns)
    try:
        run("ip", "link", "add", "es0", "netns", SERVER_NS, "type", "veth", "peer", "name", "ed0", "netns", DEVICE_NS)
        for ns, device, address in ((SERVER_NS, "es0", SERVER_IP), (DEVICE_NS, "ed0", DEVICE_IP)):
            run("ip", "-n", ns, "addr", "add", f"{address}/24", "dev", device)
            run("ip", "-n", ns, "link", "set", "lo", "up")
            run("ip", "-n", ns, "link", "set", device, "up", "gso_max_segs", "1")  # else netem loses, and delays, 64 KiB at a time
        yield
    finally:
        for ns in (SERVER_NS, DEVICE_NS):
            subprocess.run(["ip", "netns", "delete", ns], capture_output=True)


def shape(link: Link) -> None:
    """Make the cable this link, half of the round trip in each direction."""
    for ns, device in ((SERVER_NS, "es0"), (DEVICE_NS, "ed0")):
        loss = ["loss", f"{link.loss}%"] if link.loss else []
        run("ip", "netns", "exec", ns, "tc", "qdisc", "replace", "dev", device, "root", "netem", "delay", f"{link.rtt_ms / 2}ms",
            *loss, "rate", f"{link.kbit}kbit", "limit", "2000")


def inside(ns: str, words: Sequence[str]) -> list[str]:
    """The command that runs `words` in a namespace."""
    return ["ip", "netns", "exec", ns, *words]
