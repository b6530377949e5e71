"""What a server says of itself when asked: how full it is, and how its models do. Events say the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ModelCondition:
    """ready: answers. scrub_age_s: since the weights were last verified as a whole, None where that is not done. detector: has one.
    exits: names of the exits from the first to the last, () for a model without."""

    ready: bool = True
    scrub_age_s: float | None = None
    detector: bool = False
    exits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Condition:
    """ready: takes requests. draining: is shutting down. inflight: requests in the application; pending: those of them that wait for a
    worker. workers: how many run models at once. models: by name, and the names that metrics and the page know."""

    ready: bool = True
    draining: bool = False
    inflight: int = 0
    pending: int = 0
    workers: int = 1
    models: Mapping[str, ModelCondition] = field(default_factory=dict)


Asked = Callable[[], Condition]

UNPROVEN = frozenset({
    "bad_http", "not_found", "method", "too_large", "cut_off", "media", "headers_too_large", "host", "slow", "certificate", "forbidden",
    "envelope_missing", "envelope_syntax", "key_unknown", "key_revoked", "key_time", "signature", "digest", "clock"})
"""Reasons (status.REASONS) to refuse a message before it is known who sent it: a device it may name is a claim, and is not told of."""
UNVERIFIED, OTHERS, UNKNOWN = "(unverified)", "(others)", "(unknown)"
"""Stand for devices that are not known, for more of them than are told apart, and for models that are not served. No device id has
brackets."""
DEVICE_LENGTH = 64
"""Characters of a device's name that are kept (a common name of a certificate may be longer)."""


def device_of(device: str, outcome: str, reason: str) -> str:
    """The name to count under."""
    claimed = outcome == "rejected" and reason in UNPROVEN
    return UNVERIFIED if claimed or not device else device[:DEVICE_LENGTH]


__all__ = ["DEVICE_LENGTH", "OTHERS", "UNKNOWN", "UNPROVEN", "UNVERIFIED", "Asked", "Condition", "ModelCondition", "device_of"]
