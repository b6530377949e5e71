"""Metrics as a Prometheus would read them, and that nothing from the wire becomes a label unbounded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="needs the extra serve")

from prometheus_client.parser import text_string_to_metric_families

from edgerun.serve.condition import OTHERS, UNKNOWN, UNVERIFIED, Condition, ModelCondition
from edgerun.serve.events import OUTCOMES, Event
from edgerun.serve.metrics import Metrics, relative
from edgerun.serve.status import REASONS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "monitoring.md"
NET = {"net": ModelCondition(detector=True, scrub_age_s=12.5)}


@pytest.fixture
def metrics():
    return Metrics(lambda: Condition(inflight=3, pending=2, workers=2, models=NET), devices=5)


def event(outcome="ok", **more):
    return Event(**{"time": 1_700_000_000.0, "device": "cam-1", "model": "net", "transport": "http", "outcome": outcome} | more)


def read(metrics):
    """{(sample name, labels): value}"""
    families = text_string_to_metric_families(metrics.text().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def value(metrics, name, **labels):
    return read(metrics)[name, tuple(sorted(labels.items()))]


def test_an_answer(metrics):
    metrics(event(latency_ms=12, queue_ms=3, compute_ms=8, exit="exit1", difficulty=0.35, attack_score=0.5, threshold=2.0, bytes_in=100,
                  bytes_out=40, findings=2, checks=("abft", "finite")))
    assert value(metrics, "edgerun_requests_total", model="net", transport="http", outcome="ok") == 1
    assert value(metrics, "edgerun_exits_total", model="net", exit="exit1") == 1
    assert value(metrics, "edgerun_request_seconds_sum", model="net") == pytest.approx(0.012)
    assert value(metrics, "edgerun_request_seconds_bucket", model="net", le="0.01") == 0
    assert value(metrics, "edgerun_request_seconds_bucket", model="net", le="0.025") == 1
    assert value(metrics, "edgerun_queue_seconds_sum", model="net") == pytest.approx(0.003)
    assert value(metrics, "edgerun_compute_seconds_sum", model="net") == pytest.approx(0.008)
    assert value(metrics, "edgerun_fault_detected_total", model="net", check="abft") == 1
    assert value(metrics, "edgerun_fault_detected_total", model="net", check="finite") == 1
    assert value(metrics, "edgerun_attack_score_bucket", model="net", le="0.25") == 1
    assert value(metrics, "edgerun_attack_detected_total", model="net") == 0
    assert value(metrics, "edgerun_attack_threshold", model="net") == 2.0
    assert value(metrics, "edgerun_received_bytes_total", transport="http") == 100
    assert value(metrics, "edgerun_device_requests_total", device="cam-1", outcome="ok") == 1
    assert value(metrics, "edgerun_device_last_seen_timestamp_seconds", device="cam-1") == 1_700_000_000.0
    assert value(metrics, "nv_inference_request_success", model="net", version="1") == 1
    assert value(metrics, "nv_inference_request_duration_us", model="net", version="1") == pytest.approx(12_000)


def test_what_is_asked_at_a_scrape(metrics):
    assert value(metrics, "edgerun_inflight_requests") == 3
    assert value(metrics, "nv_inference_pending_request_count") == 2
    assert value(metrics, "edgerun_ready") == 1 and value(metrics, "edgerun_draining") == 0
    assert value(metrics, "edgerun_scrub_age_seconds", model="net") == 12.5


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_is_counted_from_nought(metrics, reason):
    """A rate() over a counter that appears with its first value misses that value."""
    assert value(metrics, "edgerun_rejected_total", reason=reason) == 0
    metrics(event(REASONS[reason].outcome, reason=reason))
    assert value(metrics, "edgerun_rejected_total", reason=reason) == 1
    assert value(metrics, "edgerun_requests_total", model="net", transport="http", outcome=REASONS[reason].outcome) == 1


@pytest.mark.parametrize(("reason", "verdict"), [("replay", "replayed"), ("replay_old", "too_old"), ("epoch", "epoch_rollback")])
def test_replays(metrics, reason, verdict):
    metrics(event("rejected", reason=reason))
    assert value(metrics, "edgerun_replay_rejected_total", verdict=verdict) == 1


@pytest.mark.parametrize(("outcome", "theirs"), [
    ("rejected", "REJECTED"), ("attack", "REJECTED"), ("fault", "BACKEND"), ("error", "BACKEND")])
def test_failures_under_tritons_names(metrics, outcome, theirs):
    metrics(event(outcome, reason="internal"))
    assert value(metrics, "nv_inference_request_failure", model="net", version="1", reason=theirs) == 1


def test_times_are_of_requests_that_ran(metrics):
    """Thousands of quick refusals must not make the percentiles look good."""
    metrics(event("rejected", reason="signature", latency_ms=0.1))
    metrics(event("attack", reason="attack", latency_ms=5, compute_ms=2, attack_score=4.0, threshold=2.0))
    assert value(metrics, "edgerun_request_seconds_count", model="net") == 1
    assert value(metrics, "edgerun_attack_detected_total", model="net") == 1
    assert value(metrics, "edgerun_attack_score_bucket", model="net", le="2.0") == 1
    assert value(metrics, "edgerun_attack_score_bucket", model="net", le="1.5") == 0


def test_labels_are_bounded(metrics):
    """Names of the wire's choosing: devices, models, exits, checks, reasons, transports, outcomes."""
    for k in range(300):
        metrics(event(device=f"d{k}", model=f"m{k}", transport=f"t{k}", exit=f"e{k}", checks=(f"c{k}",), findings=1, compute_ms=1))
        metrics(event(f"o{k}", reason=f"r{k}", device=f"x{k}"))
    seen = read(metrics)

    def labels(name, label):
        return {dict(key)[label] for n, key in seen if n == name}

    assert labels("edgerun_device_requests_total", "device") == {"d0", "x0", "d1", "x1", "d2", OTHERS}
    assert labels("edgerun_requests_total", "model") == {"net", UNKNOWN}
    assert labels("edgerun_requests_total", "transport") == {"http", "grpc", "other"}
    assert labels("edgerun_requests_total", "outcome") == set(OUTCOMES)
    assert labels("edgerun_rejected_total", "reason") == set(REASONS)
    assert labels("edgerun_fault_detected_total", "check") == {"other"}
    assert len(labels("edgerun_exits_total", "exit")) == 33


def test_a_claimed_device_is_no_label(metrics):
    metrics(event("rejected", reason="signature", device="victim"))
    assert value(metrics, "edgerun_device_requests_total", device=UNVERIFIED, outcome="rejected") == 1
    assert not [key for _, key in read(metrics) if ("device", "victim") in key]


def test_a_hostile_name_cannot_forge_a_line(metrics):
    name = 'x"} 1\nedgerun_ready 0\n#'
    metrics(event(device=name))
    assert value(metrics, "edgerun_device_requests_total", device=name, outcome="ok") == 1
    assert value(metrics, "edgerun_ready") == 1


def test_models_loaded_later_are_known():
    models = dict(NET)
    metrics = Metrics(lambda: Condition(models=models))
    models["later"] = ModelCondition()
    metrics(event(model="later"))
    assert value(metrics, "edgerun_requests_total", model="later", transport="http", outcome="ok") == 1


def test_two_servers_in_one_process_count_apart():
    one, two = Metrics(lambda: Condition(models=NET)), Metrics(lambda: Condition(models=NET))
    one(event())
    assert value(one, "edgerun_requests_total", model="net", transport="http", outcome="ok") == 1
    assert value(two, "edgerun_requests_total", model="net", transport="http", outcome="ok") == 0


@pytest.mark.parametrize(("score", "threshold", "expected"), [(3.0, 2.0, 1.5), (-3.0, -2.0, 0.0), (0.5, 0.0, 1.5)])
def test_a_score_above_its_threshold_is_above_one(score, threshold, expected):
    assert relative(score, threshold) == expected and (relative(score, threshold) > 1) == (score > threshold)


@pytest.mark.skipif(not DOCUMENT.is_file(), reason="needs the source tree")
def test_the_document_has_every_metric_and_no_other(metrics):
    """Also those that the alerts name."""
    metrics(event(latency_ms=1, compute_ms=1, exit="e", difficulty=0.5, attack_score=1.0, threshold=1.0, findings=1))
    def family(name):
        return re.sub(r"_(bucket|sum|count)$", "", name)

    families = {family(name) for name, _ in read(metrics) if name.startswith("edgerun_")}
    text = DOCUMENT.read_text(encoding="utf-8")
    told = set(map(family, re.findall(r"\bedgerun_[a-z_]+", text)))
    assert told == families
    assert set(re.findall(r"\bnv_inference_[a-z_]+", text)) <= {name for name, _ in read(metrics)}
