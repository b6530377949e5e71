"""What a server allows, and how it runs models: settings, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgerun.errors import OptionError


@dataclass(frozen=True)
class ServeLimits:
    """Bounds on what one peer, and all of them, may ask for. Sizes in bytes, times in seconds. OptionError for illegal values.

    body           of a message; None: what the inputs of the model can be, and 4 KiB
    dynamic_body   bound on the body where inputs have symbolic dimensions beside the first
    batch          largest first dimension where that is symbolic
    header, headers   bytes and number of the header fields of a request
    header_s, body_s  time for the header (from the opening of the connection, or the end of the last answer) and for the body to arrive
    idle_s         a connection without a request is closed after so long
    connections    open at once
    concurrency    messages at once in the application, waiting bodies included; beyond: 503
    queue          requests waiting for a worker; None: what is done in 50 ms, at least twice the workers. Beyond: 503 with Retry-After
    wait_s         longest wait for a worker, also where the request names none
    rate, burst    requests a second of one device, and how many at once after a pause; None: no bound. Beyond: 429
    devices        how many devices' rates are remembered (the least recent are forgotten)
    depth          nesting of JSON
    drain_s        from SIGTERM to the end of the last accepted request
    answers, answer_s, answer_bytes  answers kept for retries: how many, for how long, and bytes in all
    """

    body: int | None = None
    dynamic_body: int = 16 << 20
    batch: int = 8
    header: int = 16 << 10
    headers: int = 64
    header_s: float = 5.0
    body_s: float = 10.0
    idle_s: float = 30.0
    connections: int = 1024
    concurrency: int = 256
    queue: int | None = None
    wait_s: float = 10.0
    rate: float | None = None
    burst: int = 32
    devices: int = 10_000
    depth: int = 32
    drain_s: float = 10.0
    answers: int = 1024
    answer_s: float = 60.0
    answer_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is None and name in ("body", "queue", "rate"):
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise OptionError(f"limits: {name}: expected a number above 0; found {value!r}")


@dataclass(frozen=True)
class ModelOptions:
    """How models run. exit_policy, checks, on_fault, threads: as `edgerun.options.Options` (threads of one worker). workers: sessions of a
    model, and runs at once in all; None: the physical cores. on_attack: "refuse" (422, no answer) or "flag" (answered, with
    the parameter attack). fpr: the detector's rate of false alarms, one of those it has thresholds for. judge: "after", the detector sees
    the tail's answer, too, which is surer; "before": an alarm keeps the tail from running. labels: class names instead of the
    model's. session: other options of a session by name."""

    exit_policy: str = "none"
    checks: str = "standard"
    on_fault: str = "abort"
    threads: int = 1
    workers: int | None = None
    on_attack: str = "refuse"
    fpr: float = 0.05
    judge: str = "after"
    labels: tuple[str, ...] | None = None
    session: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("exit_policy", "checks", "on_fault", "on_attack", "judge"):
            if not isinstance(getattr(self, name), str):
                raise OptionError(f"{name}: expected text; found {getattr(self, name)!r}")
        for name, value in (("threads", self.threads), ("workers", self.workers or 1), ("fpr", self.fpr)):
            if isinstance(value, bool) or not isinstance(value, (int, float) if name == "fpr" else int):
                raise OptionError(f"{name}: expected a number; found {value!r}")
        if self.on_attack not in ("refuse", "flag"):
            raise OptionError(f"on_attack: expected refuse or flag; found {self.on_attack!r}")
        if self.judge not in ("after", "before"):
            raise OptionError(f"judge: expected after or before; found {self.judge!r}")
        if not 0 < self.fpr < 1:
            raise OptionError(f"fpr: expected a rate between 0 and 1; found {self.fpr!r}")
        if self.workers is not None and not 1 <= self.workers <= 256:
            raise OptionError(f"workers: expected 1 to 256; found {self.workers!r}")


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the server's certificate chain and key, and the authorities that clients' certificates must come from."""

    cert: str
    key: str
    client_ca: str | None = None
