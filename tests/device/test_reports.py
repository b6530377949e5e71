"""What devices report by MQTT, on the server's page: a real broker, `edgerun serve --mqtt`, devices with and without a server, a fault."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from contextlib import ExitStack, closing

import pytest
from brokers import free_port, needs_mosquitto

pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")
from process import serving
from test_page import HOSTILE, Tab, chromium, in_browser  # noqa: F401

from edgerun.broker import Broker
from edgerun.device import Device, Spool, Telemetry
from edgerun.executors.base import Fault
from edgerun.serve.collector import Reported
from edgerun.serve.reports import Reports


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server(mosquitto, parts, tmp_path):
    with serving(f"digits={parts}", "--insecure", "--mqtt", f"127.0.0.1:{mosquitto.port}", "--mqtt-store", tmp_path / "events.db") as found:
        found.url = f"http://127.0.0.1:{found.ready['http']}"
        yield found


def status(server, **found):
    """The part "reports", once it has so many events stored."""
    end = time.monotonic() + 20
    while True:
        with urllib.request.urlopen(f"{server.url}/edgerun/v1/status?window=15min", timeout=10) as answer:
            said = json.load(answer)["reports"]
        if said["collected"].get("stored", 0) >= found.get("stored", 0):
            return said
        assert time.monotonic() < end, said
        time.sleep(0.1)


@pytest.fixture
def field(server, mosquitto, parts, tmp_path):
    """The function that opens a device which reports: (name, URL of its server, options) -> Device."""
    with ExitStack() as stack:
        def opened(name, url, **options):
            spool = stack.enter_context(closing(Spool(tmp_path / f"{name}.db", name)))
            telemetry = stack.enter_context(Telemetry(spool, Broker("127.0.0.1", mosquitto.port)))
            made = stack.enter_context(Device(parts, url, telemetry=telemetry, remote={"retries": 0, "timeout_s": 5},
                                              **{"model": "digits", **options}))
            return made, telemetry
        yield opened


@needs_mosquitto
@in_browser
def test_exits_spells_and_faults_of_devices_are_on_the_page(server, field, digits, chromium):  # noqa: F811
    assert status(server) == {"connected": True, "collected": {}, "devices_seen": 0, "devices": []}
    steady, _ = field("cam-1", server.url, exit_policy="confidence", thresholds=(0.95, 0.95))
    answers = [steady.infer(x) for x in digits]
    lost, _ = field("cam-2", f"http://127.0.0.1:{free_port()}")
    for x in digits[:3]:
        assert lost.infer(x).reason == "unreachable"
    struck, _ = field("cam-3", server.url)
    step = next(k for k, sites in enumerate(struck.session.sites()) if "accumulator" in sites)
    struck.session.inject(Fault("accumulator", step, mask=1 << 30, runs=1))
    checks = [f.check for x in digits[:2] for f in struck.infer(x).findings]
    assert checks
    said = status(server, stored=len(digits) + 5)
    assert said["collected"]["stored"] == len(digits) + 5
    rows = {d["device"]: d for d in said["devices"]}
    assert [d["device"] for d in said["devices"]] == ["cam-2", "cam-3", "cam-1"] and said["devices_seen"] == 3  # troubled ones first
    for where in ("exit1", "exit2"):
        found = sum(e["count"] for e in rows["cam-1"]["exits"] if e["exit"] == where)
        assert found == sum(a.where == where for a in answers)
    assert rows["cam-1"]["server"] == sum(a.where == "server" for a in answers) > 0 and rows["cam-1"]["exits"]
    assert rows["cam-1"]["offline"] == {"now": False, "for_s": None, "spells": 0, "longest_s": 0.0, "reason": ""}
    assert rows["cam-2"]["fallback"] == 3 and (rows["cam-2"]["offline"]["now"], rows["cam-2"]["offline"]["spells"]) == (True, 1)
    assert rows["cam-2"]["offline"]["reason"] == "unreachable"
    assert rows["cam-3"]["findings"] == len(checks) and set(rows["cam-3"]["checks"]) == set(checks)
    tab = Tab(chromium, server.url).ready()
    tab.until("document.querySelectorAll('#reports tbody tr').length === 3")
    table = tab.js("[...document.querySelectorAll('#reports tbody tr')].map((r) => [...r.cells].map((c) => c.textContent))")
    assert [r[0] for r in table] == ["cam-2", "cam-3", "cam-1"] and "now" in table[0][3] and "unreachable" in table[0][3]
    assert table[1][4].startswith(f"■ {len(checks)} (") and "server" in table[2][2] and "exit1" in table[2][2]
    assert tab.complaints() == []


@needs_mosquitto
def test_a_spell_ends_when_the_server_answers_again(server, field, digits, parts, mosquitto, tmp_path):
    lost, telemetry = field("cam-2", f"http://127.0.0.1:{free_port()}")
    assert lost.infer(digits[0]).where == "fallback"
    time.sleep(1.2)
    with Device(parts, server.url, model="digits", telemetry=telemetry) as back:
        assert back.infer(digits[0]).where == "server"
    [row] = status(server, stored=2)["devices"]
    assert not row["offline"]["now"] and row["offline"]["spells"] == 1 and 1 < row["offline"]["longest_s"] < 10


@needs_mosquitto
def test_a_refusal_is_no_spell_without_the_server(server, field, digits):
    """The server answered: it does not know the model."""
    device, _ = field("cam-5", server.url, model="other")
    assert device.infer(digits[0]).reason == "refused:model_unknown"
    [row] = status(server, stored=1)["devices"]
    assert row["fallback"] == 1 and row["offline"]["spells"] == 0 and not row["offline"]["now"]


def report(n: int, where: object, reason: object = "", at: float = 0.0, device: str = "cam-1", **more) -> Reported:
    event = {"where": where, "reason": reason, "findings": [], **more}
    return Reported(device, "0" * 16, n, at, 0, event, json.dumps(event))


def test_windows_forget_and_the_spell_goes_on():
    clock = Clock()
    reports = Reports(clock=clock)
    assert reports.snapshot("60s") is None
    reports(report(1, "fallback", "timeout", at=5.0))
    clock.now += 30
    reports(report(2, "fallback", "circuit_open", at=35.0))
    reports(report(3, "exit1", at=36.0))  # sure enough by itself: says nothing about the server
    [row] = reports.snapshot("60s")["devices"]
    assert (row["reports"], row["fallback"], row["offline"]["spells"], row["offline"]["for_s"]) == (3, 2, 1, 31.0)
    clock.now += 120
    [row] = reports.snapshot("60s")["devices"]
    assert (row["reports"], row["offline"]["spells"], row["offline"]["now"], row["age_s"]) == (0, 0, True, 120.0)
    assert reports.snapshot("15min")["devices"][0]["reports"] == 3
    reports(report(4, "server", at=1.0))  # the device's clock went back
    assert reports.snapshot("60s")["devices"][0]["offline"] == {"now": False, "for_s": None, "spells": 0, "longest_s": 0.0,
                                                                 "reason": "circuit_open"}


STRANGE = ({"where": HOSTILE * 50}, {"where": None}, {"where": ["x"]}, {"where": {"a": 1}}, {"reason": 7}, {"findings": "abc"},
           {"findings": [1, None, HOSTILE]}, {"findings": ["abft"] * 10**5})


@pytest.mark.parametrize("strange", STRANGE, ids=lambda s: next(iter(s)))
def test_what_a_device_makes_up_is_bounded(strange):
    reports = Reports()
    for n in range(100):
        reports(Reported(f"d{n % 3}", "0" * 16, n, 0.0, 10**30, {"where": f"exit{n}", **strange}, ""))
    text = json.dumps(reports.snapshot("60s"))
    assert len(text) < 6000 and sum(d["reports"] for d in json.loads(text)["devices"]) == 100
    assert set(re.findall(r'"checks": \[([^\]]*)\]', text)) <= {"", '"other"', '"abft"'}


def test_no_more_devices_than_are_kept():
    reports = Reports(devices=5)
    for n in range(20):
        reports(report(n, "server", device=f"d{n}"))
    assert {d["device"] for d in reports.snapshot("60s")["devices"]} == {f"d{n}" for n in range(15, 20)}
