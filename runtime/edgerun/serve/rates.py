"""How many requests a second a device may send: a bucket of tokens each."""

from __future__ import annotations

import time
from collections import OrderedDict

from edgerun.errors import Refused


class Rates:
    """rate: tokens a second; None: no bound. burst: size of a bucket. devices: buckets that are remembered; the least recent is forgotten,
    which fills it, so the number should be above that of the devices."""

    def __init__(self, rate: float | None, burst: int, devices: int) -> None:
        self.rate, self.burst, self.devices = rate, burst, devices
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, device: str, now: float | None = None) -> None:
        """One token, or Refused("rate") with the time until there is one. now: seconds of a monotonic clock."""
        if self.rate is None:
            return
        now = time.monotonic() if now is None else now
        tokens, at = self._buckets.pop(device, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - at) * self.rate)
        self._buckets[device] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._buckets) > self.devices:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise Refused("rate", f"more than {self.rate:g} requests a second", retry_after=(1 - tokens) / self.rate)
