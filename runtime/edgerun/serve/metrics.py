"""Prometheus metrics of one server: an observer of its events. docs/monitoring.md lists them, with alerts.

No label takes a value from the wire as it is: models are those that are served, reasons and checks those of our tables, exits and devices
the first so many, the rest counted together."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from edgerun.errors import OptionError
from edgerun.options import CHECKS
from edgerun.serve.condition import OTHERS, UNKNOWN, UNVERIFIED, Asked, device_of
from edgerun.serve.events import OUTCOMES, Event
from edgerun.serve.rings import Names
from edgerun.serve.status import REASONS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1., 2.5, 5., 10.)
"""Bounds of the histograms of time."""
SCORES = (.1, .25, .5, .75, .9, 1., 1.1, 1.25, 1.5, 2., 3., 5., 10.)
"""Bounds of the histogram of attack scores, as multiples of the threshold: what is above 1 was taken for an attack."""
TENTHS = tuple(k / 10 for k in range(1, 10))
DEVICES, EXITS = 200, 32
"""How many devices, and exits of all models, have a label of their own."""
REPLAYS = {"replay": "replayed", "replay_old": "too_old", "epoch": "epoch_rollback"}
KINDS = frozenset(CHECKS) | {"finite"}
"""Checks that a `Finding` names."""
TRITON = {"rejected": "REJECTED", "attack": "REJECTED", "fault": "BACKEND", "error": "BACKEND"}
"""Triton's reason of nv_inference_request_failure, by our outcome."""


class Metrics:
    """Counts every `Event` given to it; `text()` is what /metrics answers. Thread-safe.

    condition: asked at every scrape; models are those it names then, other names are counted as UNKNOWN.
    devices: how many devices have a label of their own. OptionError where prometheus-client is not installed."""

    def __init__(self, condition: Asked, devices: int = DEVICES) -> None:
        try:
            import prometheus_client
            from prometheus_client import metrics_core
        except ImportError as e:
            raise OptionError("metrics: expected prometheus-client; found it is not installed; pip install 'edgerun[serve]'") from e
        self._condition, self._models = condition, frozenset(condition().models)
        self._lock = threading.Lock()
        self._children: dict[tuple[Any, ...], Any] = {}
        self._devices, self._exits = Names(devices, OTHERS), Names(EXITS, OTHERS)
        self.registry = registry = prometheus_client.CollectorRegistry(auto_describe=False)
        self._render: Any = prometheus_client.generate_latest

        def counter(name: str, meaning: str, *labels: str) -> Any:
            return prometheus_client.Counter(f"edgerun_{name}", meaning, labels, registry=registry)

        def histogram(name: str, meaning: str, bounds: tuple[float, ...], *labels: str) -> Any:
            return prometheus_client.Histogram(f"edgerun_{name}", meaning, labels, registry=registry, buckets=bounds)

        self._requests = counter("requests", "Requests, by what became of them", "model", "transport", "outcome")
        self._rejected = counter("rejected", "Requests refused or failed, by reason", "reason")
        self._replays = counter("replay_rejected", "Messages refused by the replay window", "verdict")
        self._by_device = counter("device_requests", "Requests of a device, by what became of them", "device", "outcome")
        self._seen = prometheus_client.Gauge("edgerun_device_last_seen_timestamp_seconds", "A device's last proven message",
                                             ["device"], registry=registry)
        self._latency = histogram("request_seconds", "From the body's first byte to the answer, of requests that ran", SECONDS, "model")
        self._queue = histogram("queue_seconds", "Waiting for a worker, of requests that ran", SECONDS, "model")
        self._compute = histogram("compute_seconds", "In the worker: detector and model", SECONDS, "model")
        self._exit = counter("exits", "Answers, by the exit taken", "model", "exit")
        self._difficulty = histogram("difficulty", "Estimated difficulty of the inputs", TENTHS, "model")
        self._faults = counter("fault_detected", "Findings of the checks that run with the model", "model", "check")
        self._score = histogram("attack_score", "The detector's score, as a multiple of its threshold", SCORES, "model")
        self._above = counter("attack_detected", "Requests whose score was above the threshold", "model")
        self._threshold = prometheus_client.Gauge("edgerun_attack_threshold", "The detector's threshold", ("model",), registry=registry)
        self._received = counter("received_bytes", "Bodies of requests", "transport")
        self._sent = counter("sent_bytes", "Bodies of answers", "transport")
        self._triton: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in NVIDIA}
        for reason in REASONS:  # a rate needs a counter that stood at 0
            self._rejected.labels(reason)
        for verdict in REPLAYS.values():
            self._replays.labels(verdict)
        for model in self._models:
            for outcome in OUTCOMES:
                for transport in ("http", "grpc"):
                    self._requests.labels(model, transport, outcome)
            self._above.labels(model)
        for model, its in condition().models.items():
            if its.detector:
                self._score.labels(model)
        registry.register(Asking(metrics_core, condition, self._triton))

    def __call__(self, event: Event) -> None:
        """Count one request."""
        if event.model not in self._models:
            self._models = frozenset(self._condition().models)
        model = event.model if event.model in self._models else UNKNOWN
        outcome = event.outcome if event.outcome in OUTCOMES else "error"
        transport = event.transport if event.transport in ("http", "grpc") else "other"
        self._of(self._requests, model, transport, outcome).inc()
        self._of(self._received, transport).inc(event.bytes_in)
        self._of(self._sent, transport).inc(event.bytes_out)
        if event.reason:
            self._of(self._rejected, event.reason if event.reason in REASONS else "internal").inc()
            if event.reason in REPLAYS:
                self._of(self._replays, REPLAYS[event.reason]).inc()
        device = self._named(self._devices, device_of(event.device, outcome, event.reason))
        self._of(self._by_device, device, outcome).inc()
        if device not in (UNVERIFIED, OTHERS):
            self._of(self._seen, device).set(event.time)
        ran = outcome == "ok" or event.compute_ms > 0
        if ran:
            self._of(self._latency, model).observe(event.latency_ms / 1e3)
            self._of(self._queue, model).observe(event.queue_ms / 1e3)
            self._of(self._compute, model).observe(event.compute_ms / 1e3)
            if event.exit:
                self._of(self._exit, model, self._named(self._exits, event.exit)).inc()
            if event.difficulty is not None:
                self._of(self._difficulty, model).observe(event.difficulty)
        for k in range(event.findings):
            check = event.checks[k] if k < len(event.checks) else ""
            self._of(self._faults, model, check if check in KINDS else "other").inc()
        if event.attack_score is not None and event.threshold is not None:
            above = event.attack_score > event.threshold
            self._of(self._score, model).observe(relative(event.attack_score, event.threshold))
            self._of(self._threshold, model).set(event.threshold)
            self._of(self._above, model).inc(above)
        self._count_triton(event, model, outcome)

    def _of(self, metric: Any, *labels: str) -> Any:
        """The child of a metric; looked up here, because the library's own look-up costs more than all the rest."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def _named(self, names: Names, name: str) -> str:
        if name == UNVERIFIED:
            return name
        with self._lock:
            return names.rest if names.column(name) == names.most else name

    def _count_triton(self, event: Event, model: str, outcome: str) -> None:
        key: tuple[str, ...] = (model, "1")
        values = {"nv_inference_request_success": 1.0, "nv_inference_count": 1.0, "nv_inference_exec_count": 1.0,
                  "nv_inference_request_duration_us": event.latency_ms * 1e3, "nv_inference_queue_duration_us": event.queue_ms * 1e3,
                  "nv_inference_compute_infer_duration_us": event.compute_ms * 1e3}
        if outcome != "ok":
            key, values = (*key, TRITON[outcome]), {"nv_inference_request_failure": 1.0}
        with self._lock:
            for name, count in values.items():
                kept = self._triton[name]
                kept[key] = kept.get(key, 0.0) + count

    def text(self) -> bytes:
        """All metrics in Prometheus' text form, CONTENT_TYPE."""
        return bytes(self._render(Bare(self.registry)))


NVIDIA = {
    "nv_inference_request_success": "Requests answered", "nv_inference_request_failure": "Requests not answered",
    "nv_inference_count": "Inferences", "nv_inference_exec_count": "Runs of the model",
    "nv_inference_request_duration_us": "Time of answered requests in all", "nv_inference_queue_duration_us": "Of it, waiting",
    "nv_inference_compute_infer_duration_us": "Of it, computing",
}
"""Triton's metrics under Triton's names (which do not end in _total, so they are not declared as counters), for dashboards made for it."""


def relative(score: float, threshold: float) -> float:
    """A score as a multiple of its threshold; with a threshold of 0 or less, where there is no such thing, 1 + score - threshold."""
    return score / threshold if threshold > 0 else 1 + score - threshold


class Bare:
    """A registry without the samples that say when each counter was made, which nobody asks for and which double what is sent."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Any]:
        """The metric families."""
        for family in self._registry.collect():
            family.samples = [s for s in family.samples if not s.name.endswith("_created")]
            yield family


class Asking:
    """What is asked for at a scrape rather than counted."""

    def __init__(self, families: Any, condition: Asked, triton: dict[str, dict[tuple[str, ...], float]]) -> None:
        self._families, self._condition, self._triton = families, condition, triton

    def collect(self) -> Iterable[Any]:
        """The metric families."""
        gauge = self._families.GaugeMetricFamily
        now = self._condition()
        for name, meaning, value in (("ready", "1: takes requests", now.ready), ("draining", "1: is shutting down", now.draining),
                                     ("inflight_requests", "Requests in the application", now.inflight),
                                     ("pending_requests", "Of them, waiting for a worker", now.pending),
                                     ("workers", "Runs of models at once", now.workers)):
            yield gauge(f"edgerun_{name}", meaning, value=float(value))
        ready = gauge("edgerun_model_ready", "1: the model is loaded and passed its self-test", labels=("model",))
        age = gauge("edgerun_scrub_age_seconds", "Since the weights were last verified as a whole", labels=("model",))
        for name, model in now.models.items():
            ready.add_metric((name,), float(model.ready))
            if model.scrub_age_s is not None:
                age.add_metric((name,), model.scrub_age_s)
        yield from (ready, age)
        for name, meaning in NVIDIA.items():
            family = self._families.Metric(name, meaning, "unknown")
            names = ("model", "version", "reason")
            for labels, count in list(self._triton[name].items()):
                family.add_sample(name, dict(zip(names, labels, strict=False)), count)
            yield family
        yield gauge("nv_inference_pending_request_count", "Requests waiting for a worker", value=float(now.pending))


__all__ = ["CONTENT_TYPE", "Metrics", "relative"]
