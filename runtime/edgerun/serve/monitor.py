"""What operators see of one server: metrics, rolling windows and the page, put together and given paths."""

from __future__ import annotations

import time
from urllib.parse import parse_qs

from edgerun.errors import OptionError
from edgerun.serve import page
from edgerun.serve.condition import Condition, ModelCondition
from edgerun.serve.core import Core
from edgerun.serve.events import Event
from edgerun.serve.http import Page, Reply, Scope
from edgerun.serve.metrics import CONTENT_TYPE, Metrics
from edgerun.serve.reports import Reports
from edgerun.serve.served import Served
from edgerun.serve.stats import Stats

STATUS = "/edgerun/v1/status"


class Monitor:
    """An observer of the events of `core`. pages: path → Page for its HTTP interface. reports: for `Collector(on_event=…)`, what devices
    say of themselves."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.reports = Reports()
        self.metrics, self.stats = Metrics(self.condition), Stats(self.condition, reports=self.reports)
        self.pages: dict[str, Page] = {"/metrics": self._metrics, STATUS: self._status}
        self.pages |= dict.fromkeys(page.PATHS, self._file)

    def __call__(self, event: Event) -> None:
        """Count one request."""
        self.metrics(event)
        self.stats(event)

    def condition(self) -> Condition:
        """As it is now."""
        core, pool = self._core, self._core.pool
        return Condition(core.ready, core.draining, core.messages, max(0, pool.pending - pool.workers), pool.workers,
                         {served.name: _of(served) for served in core.models})

    async def _metrics(self, scope: Scope) -> Reply:
        return Reply(200, self.metrics.text(), CONTENT_TYPE)

    async def _status(self, scope: Scope) -> Reply:
        window = parse_qs(scope.get("query_string", b"").decode("ascii", "replace")).get("window", ["60s"])[-1]
        try:
            return Reply(200, self.stats.json(window))
        except OptionError as e:
            return Reply.of({"error": str(e), "reason": "parameter"}, 400)

    async def _file(self, scope: Scope) -> Reply:
        root = scope.get("root_path", "")
        file = page.asset(scope["path"].removeprefix(root))
        return Reply(200, file.body, file.media, page.HEADERS)


def _of(served: Served) -> ModelCondition:
    age = max(0.0, time.time() - served.scrubbed) if served.scrubbed else None
    return ModelCondition(served.healthy, age, bool(served.detectors), served.exits)


__all__ = ["STATUS", "Monitor"]
