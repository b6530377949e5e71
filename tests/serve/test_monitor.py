"""Metrics and status of a real server, over the wire: what it did is what they say."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")

from prometheus_client.parser import text_string_to_metric_families
from running import ALEXNET, post, request_of, running, sample

from edgerun.executors.base import Fault
from edgerun.serve import ModelOptions

INFER = "/v2/models/digits/infer"


@pytest.fixture
def server():
    options = ModelOptions(exit_policy="none", workers=1, on_fault="abort", session={"executor": "engine"})
    with running({"digits": ALEXNET}, options=options, metrics_port=0) as found:
        yield found


def get(address, path):
    with urllib.request.urlopen(f"http://{address}{path}") as answer:
        return answer.read().decode()


def metrics(found):
    families = text_string_to_metric_families(get(found.http, "/metrics"))
    return {(s.name, *sorted(s.labels.values())): s.value for f in families for s in f.samples}


def infer(found, name="image", path=INFER):
    return post(found.http, path, json.dumps(request_of(sample(ALEXNET), name)).encode())[0]


def test_requests_are_counted_once_each(server):
    assert [infer(server), infer(server), infer(server, "wrong"), infer(server, path="/v2/models/other/infer")] == [200, 200, 400, 404]
    now = metrics(server)
    assert now["edgerun_requests_total", "digits", "http", "ok"] == 2
    assert now["edgerun_rejected_total", "input"] == now["edgerun_rejected_total", "model_unknown"] == 1
    assert now["edgerun_request_seconds_count", "digits"] == 2 and now["edgerun_compute_seconds_sum", "digits"] > 0
    assert now["nv_inference_request_success", "1", "digits"] == 2
    assert now["edgerun_model_ready", "digits"] == 1 and 0 <= now["edgerun_scrub_age_seconds", "digits"] < 60
    assert now["edgerun_ready",] == 1 and now["edgerun_pending_requests",] == 0
    status = json.loads(get(server.http, "/edgerun/v1/status"))
    assert status["outcomes"] == {"ok": 2, "rejected": 2, "attack": 0, "fault": 0, "error": 0}
    assert {r["reason"] for r in status["reasons"]} == {"input", "model_unknown"}
    assert status["latency_ms"]["p50"] > 0 and {d["device"] for d in status["devices"]} == {"anonymous", "(unverified)"}


def test_a_fault_in_a_run_is_counted_by_its_check(server):
    """A struck sum of products that stays: the answer is withheld, and metrics and page name what found it."""
    session = next(iter(server.server.models)).sessions[0]
    step = next(k for k, sites in enumerate(session.sites()) if "accumulator" in sites)
    session.inject(Fault("accumulator", step, mask=1 << 30, runs=50))
    assert infer(server) == 500
    session.heal()
    assert infer(server) == 200
    now = metrics(server)
    counted = {key[1]: value for key, value in now.items() if key[0] == "edgerun_fault_detected_total"}
    assert counted and set(counted) <= {"abft", "finite", "maed", "range"} and sum(counted.values()) >= 1
    assert now["edgerun_requests_total", "digits", "fault", "http"] == 1
    status = json.loads(get(server.http, "/edgerun/v1/status"))
    assert status["outcomes"]["fault"] == 1 and status["findings"] == sum(counted.values()) and status["recent"][0]["reason"] == "fault"


def test_the_port_of_its_own_has_metrics_and_nothing_else(server):
    address = f"127.0.0.1:{server.server.metrics_port}"
    assert "edgerun_ready 1.0" in get(address, "/metrics")
    for path in ("/", "/edgerun/v1/status", "/v2"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(address, path)


@pytest.mark.parametrize(("query", "window"), [("", "60s"), ("?window=15min", "15min"), ("?window=60s&x=1", "60s"),
                                               ("?" + "a" * 2000, "60s")])
def test_the_window_is_chosen_by_the_query(server, query, window):
    assert json.loads(get(server.http, "/edgerun/v1/status" + query))["window"]["name"] == window


@pytest.mark.parametrize("query", ["?window=1y", "?window=%ff", "?window=" + "a" * 2000])
def test_a_window_that_is_not_kept_is_refused(server, query):
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        get(server.http, "/edgerun/v1/status" + query)
    said = refused.value.read().decode()
    assert "60s or 15min" in said and len(said) < 200
