"""A server as a library: load models, listen in the running event loop, drain, stop.

    async with Server({"digits": "digits.onnx"}, insecure=True) as server:      # 127.0.0.1, HTTP 8000, gRPC 8001
        await asyncio.sleep(3600)

Inside of another ASGI application:

    server = Server({"digits": "digits.onnx"}, http_port=None, grpc_port=None)
    app.mount("/models", server.app)                                             # and `async with server` in its lifespan
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from edgerun.errors import OptionError
from edgerun.options import default_threads
from edgerun.serve import status, turns
from edgerun.serve.core import Core
from edgerun.serve.events import Event, Observer, Observers
from edgerun.serve.gate import Gate, OpenGate
from edgerun.serve.hosts import Hosts
from edgerun.serve.http import App, Page, Reply, Scope
from edgerun.serve.monitor import Monitor
from edgerun.serve.repository import Repository
from edgerun.serve.served import Served, Verify
from edgerun.serve.settings import ModelOptions, ServeLimits, TlsFiles
from edgerun.serve.tls import check_trust, is_loopback, server_context

Models = Mapping[str, str | Path]


class Server:
    """models: name → ONNX file or folder of `edgerun split`; "name:version" for several versions of one name. Loading happens here.

    host           address of both interfaces; ports: 0 for any free one, None for none
    metrics_port   pages[“/metrics”] alone, in plain HTTP on metrics_host, a loopback address
    tls            certificates; with client_ca everybody must have one of that authority
    gate           who may speak (edgerun.serve.gate); None: everybody whom TLS lets in
    insecure       neither client certificates nor gate; OptionError unless host is a loopback address
    options        of all models; model_options: name → those of one model instead (workers are those of `options`)
    detectors      name → detector's ONNX file, for models whose folder has none
    observers      called with every event, besides `monitor` (metrics, page); pages: path → Page, added to the HTTP interface
    verify         called with each model's path before it is read (edgerun.serve.signing.Verifier); raises SignatureError
                   where the file is not to be trusted
    allowed_hosts  names that the Host of a plain HTTP request from this machine may have besides localhost (edgerun.serve.hosts)

    Raises OptionError, ModelError, SignatureError; `start` also OptionError for addresses that cannot be had, and for a model that failed
    its self-test."""

    def __init__(self, models: Models, *, host: str = "127.0.0.1", http_port: int | None = 8000, grpc_port: int | None = 8001,
                 metrics_port: int | None = None, metrics_host: str = "127.0.0.1", tls: TlsFiles | None = None, gate: Gate | None = None,
                 insecure: bool = False, options: ModelOptions | None = None, limits: ServeLimits | None = None,
                 model_options: Mapping[str, ModelOptions] | None = None, detectors: Models | None = None,
                 observers: Iterable[Observer] = (), pages: Mapping[str, Page] | None = None,
                 verify: Verify | None = None, allowed_hosts: Sequence[str] = ()) -> None:
        if http_port is not None or grpc_port is not None:
            check_trust(host, tls, gate is not None, insecure)
        if metrics_port is not None and not is_loopback(metrics_host):
            raise OptionError(f"metrics_host: expected a loopback address, as metrics travel unprotected; found {metrics_host!r}")
        self.host, self.http_port, self.grpc_port = host, http_port, grpc_port
        self.metrics_host, self.metrics_port = metrics_host, metrics_port
        self.tls = tls
        self.options, self.limits = options or ModelOptions(), limits or ServeLimits()
        self.observers = Observers(*observers)
        self.models = self._load(models, dict(model_options or {}), dict(detectors or {}), verify)
        self.core = Core(self.models, gate or OpenGate(), self.limits, self._workers, self.observers)
        self.monitor = Monitor(self.core)
        self.observers.add(self.monitor)
        self.pages: dict[str, Page] = {**self.monitor.pages, **(pages or {})}
        self.app = App(self.core, self.pages)
        self._fronts = [Hosts(app, allowed_hosts, self._rejected) for app in (self.app, _Metrics(self.app))]
        self._running: list[Any] = []
        self._grpc: Any = None

    @property
    def _workers(self) -> int:
        return self.options.workers or default_threads()

    def _load(self, models: Models, own: dict[str, ModelOptions], detectors: dict[str, str | Path], verify: Verify | None) -> Repository:
        unknown = sorted((set(detectors) | set(own)) - set(models))
        if unknown:
            raise OptionError(f"detectors, options of a model: expected names of models that are served ({', '.join(models)}), as "
                              f"--detector {next(iter(models), 'NAME')}=FILE; found {', '.join(unknown)}")
        loaded = []
        for full, path in models.items():
            name, _, version = full.partition(":")
            loaded.append(Served(path, name, version or "1", options=own.get(full, self.options), limits=self.limits, workers=self._workers,
                                 detector=detectors.get(full), verify=verify))
        return Repository(loaded)

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Self-test, then listen. Ports that were 0 have their number afterwards. What was begun is stopped again where it raises."""
        try:
            await self.core.start()
            bad = [f"{s.name}: {s.trouble}" for s in self.models if not s.healthy]
            if bad:
                raise OptionError(f"expected every model to pass its self-test; found {'; '.join(bad)}")
            await self._listen()
        except BaseException:
            await self.stop(0)
            raise

    async def _listen(self) -> None:
        context = server_context(self.tls) if self.tls else None  # says what is wrong with the files better than gRPC would
        if self.http_port is not None or self.metrics_port is not None:
            from edgerun.serve.listener import Listener

            if self.http_port is not None:
                http = Listener(self._fronts[0], self.limits, self._rejected)
                self._running.append(http)
                await http.start(self.host, self.http_port, context)
                self.http_port = http.port
            if self.metrics_port is not None:
                metrics = Listener(self._fronts[1], self.limits, self._rejected)
                self._running.append(metrics)
                await metrics.start(self.metrics_host, self.metrics_port, None)
                self.metrics_port = metrics.port
        if self.grpc_port is not None:
            from edgerun.serve import rpc

            with turns.urgent():
                self._grpc = rpc.make_server(self.core)
            address = f"[{self.host}]" if ":" in self.host else self.host
            self.grpc_port = rpc.listen(self._grpc, f"{address}:{self.grpc_port}", self.tls)
            await self._grpc.start()

    def _rejected(self, reason: str) -> None:
        """A connection that was refused before there was a message."""
        self.observers(Event(time.time(), "", "", "http", status.of(reason).outcome, reason))

    async def stop(self, drain_s: float | None = None) -> int:
        """Not ready, nothing new, wait for accepted messages up to drain_s (None: limits.drain_s), then cancel; messages that were
        cancelled. Models are closed: a server is started once."""
        left = await self.core.drain(self.limits.drain_s if drain_s is None else drain_s)
        for listener in self._running:
            await listener.stop()
        self._running = []
        if self._grpc is not None:
            await self._grpc.stop(0.5 if not left else 0)
            self._grpc = None
        await self.core.stop()
        self.models.close()
        return left

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def run(self, ended: asyncio.Event) -> int:
        """Serve until `ended` is set; messages cancelled by the end."""
        await self.start()
        try:
            await ended.wait()
        finally:
            left = await self.stop()
        return left


class _Metrics:
    """/metrics and nothing else, for a port of its own."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        from edgerun.serve.http import send_reply

        page = self._app.pages.get("/metrics") if scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD") else None
        reply = await page(scope) if page else Reply.of({"error": "no such route", "reason": "not_found"}, 404)
        await send_reply(send, reply, close=False)
