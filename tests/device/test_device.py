"""A device against a real server process: the answers of the whole model, by both transports, and what happens when the server is away."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from servers import MODEL

from edgerun import Session
from edgerun.device import Backoff, Breaker, Broker, Device, Remote, Telemetry
from edgerun.device.message import tensor_of
from edgerun.device.transport import SAME, Trouble
from edgerun.errors import InputError, ModelNotFoundError, OffloadError, OptionError
from edgerun.splits.envelope import Signer
from edgerun.splits.keys import DeviceKey

pytest.importorskip("urllib3", reason="needs urllib3 (extra device)")
pytest.importorskip("grpc", reason="needs grpcio (extra device)")
TRANSPORTS = pytest.mark.parametrize("kind", ["http", "grpc"])


@pytest.fixture(scope="module")
def whole(digits):
    """options of a session → the whole model's results."""
    def run(**options):
        with Session(MODEL, **options) as session:
            return [session.run(x) for x in digits]

    return run


@TRANSPORTS
def test_answers_are_those_of_the_whole_model_bit_for_bit(open_device, service, digits, whole, kind):
    device = open_device(service, kind)
    for x, expected in zip(digits, whole(), strict=True):
        answer = device.infer(x)
        assert answer.where == "server" and answer.attempts == 1 and answer.exit == "final"
        assert set(answer.outputs) == set(expected.outputs)
        assert all(np.array_equal(answer.outputs[n], a) for n, a in expected.outputs.items())
        assert np.array_equal(answer.scores, expected.scores)
        assert answer.best(3)[0][0] == expected.top[0][0] and answer.best(3)[0][1] == pytest.approx(expected.top[0][1], rel=1e-6)


@TRANSPORTS
@pytest.mark.parametrize("options", [{"exit_policy": "dart"}, {"exit_policy": "confidence", "thresholds": (0.95, 0.5)}],
                         ids=["dart", "strict"])
def test_it_leaves_early_where_the_whole_model_does(open_device, service, digits, whole, kind, options):
    device = open_device(service, kind, **options)
    found = [device.infer(x) for x in digits]
    expected = whole(**options)
    assert [a.where for a in found] == [e.exit.name if e.exit.early else "server" for e in expected]
    assert all(np.array_equal(a.scores, e.scores) for a, e in zip(found, expected, strict=True))
    asked = sum(a.where == "server" for a in found)
    assert asked < len(digits) and (asked > 0 or options["exit_policy"] == "dart")  # which lets all of these leave
    assert len(service.events()) == asked  # nothing else travelled
    assert device.counts.get("server", 0) == asked


@TRANSPORTS
@pytest.mark.parametrize(("encoding", "close"), [("fp16", 0.01), ("int8", 0.1)])
def test_encodings_lose_what_they_say(open_device, service, digits, whole, kind, encoding, close):
    device = open_device(service, kind, encoding=encoding)
    for x, expected in zip(digits[:20], whole()[:20], strict=True):
        answer = device.infer(x)
        top = np.abs(expected.scores).max()
        assert np.abs(answer.scores - expected.scores).max() <= close * top
        assert answer.scores.argmax() == expected.scores.argmax()


@TRANSPORTS
def test_a_whole_model_can_be_asked_the_same_way(service, digits, whole, kind):
    with Session(MODEL) as session:
        name = session.inputs[0].name
    sha256 = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    with Remote(service.url(kind), "whole", signer=Signer("cam-1", service.key, 1), sha256=sha256) as remote:
        found = remote.ask([tensor_of(name, digits[0])]).reply
    expected = whole()[0]
    assert all(np.array_equal(found.outputs[n], a) for n, a in expected.outputs.items())


@TRANSPORTS
def test_without_the_server_the_deepest_exit_answers_and_says_why(open_device, doomed, digits, whole, kind):
    device = open_device(doomed, kind, remote={"breaker": Breaker(failures=3, pause_s=0.3), "retries": 1, "timeout_s": 3})
    first = device.infer(digits[0])
    doomed.kill()
    away = [device.infer(digits[0]) for _ in range(6)]
    assert first.where == "server" and {a.where for a in away} == {"fallback"}
    assert [a.reason for a in away] == ["unreachable"] * 3 + ["circuit_open"] * 3
    expected = whole()[0]
    assert all(np.array_equal(a.scores, expected.outputs["exit2"]) and a.exit == "exit2" for a in away)
    assert max(a.remote_ms for a in away[3:]) < 50  # no waiting while the circuit is open
    doomed.start()
    end = time.monotonic() + 20
    while device.infer(digits[0]).where != "server" and time.monotonic() < end:
        time.sleep(0.1)
    assert device.infer(digits[0]).where == "server"  # by itself
    assert device.counts["fallback unreachable"] >= 3


def test_no_fallback_raises_the_reason(open_device, doomed, digits):
    device = open_device(doomed, fallback=False, remote={"retries": 0})
    doomed.kill()
    with pytest.raises(OffloadError, match="unreachable") as e:
        device.infer(digits[0])
    assert e.value.reason == "unreachable" and e.value.exit_code == 8


@TRANSPORTS
def test_a_server_that_hangs_costs_the_deadline_and_no_more(open_device, doomed, digits, kind):
    device = open_device(doomed, kind, remote={"timeout_s": 0.5, "retries": 3})
    device.infer(digits[0])
    doomed.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = device.infer(digits[0])
        took = time.monotonic() - began
    finally:
        doomed.process.send_signal(signal.SIGCONT)
    assert (answer.where, answer.reason) == ("fallback", "timeout") and 0.4 < took < 1.5


@TRANSPORTS
@pytest.mark.parametrize(("change", "reason"), [
    ({"key": DeviceKey.generate()}, "key_unknown"), ({"name": "cam-2"}, "key_unknown"), ({"key": None, "state": None}, "envelope_missing"),
    ({"model": "whole"}, "model_hash"), ({"model": "nothing"}, "model_unknown")],
    ids=["key", "name", "unsigned", "other model", "no model"])
def test_refusals_are_told_and_not_repeated(open_device, service, digits, kind, change, reason):
    answer = open_device(service, kind, **change).infer(digits[0])
    assert answer.where == "fallback"
    assert answer.reason == f"refused:{reason}"
    assert len(service.events()) <= 1


def test_a_device_that_lost_its_state_is_told(open_device, digits, tmp_path, service):
    for k in range(3):
        device = open_device(service, state=tmp_path / "kept")
        assert device.infer(digits[0]).where == "server", k
        device.close()
    lost = open_device(service, state=tmp_path / "new")
    assert lost.infer(digits[0]).reason == "refused:epoch"


@TRANSPORTS
def test_threads_share_a_device(open_device, service, digits, whole, kind):
    device = open_device(service, kind)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(device.infer, digits))
    assert all(np.array_equal(a.scores, e.scores) for a, e in zip(found, whole(), strict=True))
    ran = [e[0] for e in service.events() if e[1] == "ok"]
    assert len(ran) == len(set(ran)) == len(digits)
    assert {e[2] for e in service.events()} <= {"", "overload"}  # more threads than the server's queue has places


def test_it_can_be_awaited(open_device, service, digits):
    device = open_device(service)

    async def several():
        return await asyncio.gather(*(device.infer_async(x) for x in digits[:8]))

    assert {a.where for a in asyncio.run(several())} == {"server"}


@TRANSPORTS
def test_kill_9_of_the_server_under_way_loses_no_answer_and_runs_nothing_twice(open_device, doomed, digits, whole, kind):
    """Every input gets an answer; every answer of the server is the whole model's; what ran is what was answered or was cut off."""
    patient = {"timeout_s": 60, "retries": 200, "backoff": Backoff(0.02, 0.2), "breaker": Breaker(failures=10**6)}
    device = open_device(doomed, kind, remote=patient)
    expected = whole()
    found = {}

    def work(k):
        found[k] = device.infer(digits[k % len(digits)])

    def killer():
        for _ in range(3):
            time.sleep(0.4)
            doomed.kill()
            time.sleep(0.1)
            doomed.start()

    thread = threading.Thread(target=killer)
    thread.start()
    with ThreadPoolExecutor(4) as pool:
        k = 0
        while thread.is_alive() or k < 100:
            list(pool.map(work, range(k, k + 20)))
            k += 20
    thread.join()
    assert len(found) == k and {(a.where, a.reason, a.detail) for a in found.values()} == {("server", "", "")}
    assert all(np.array_equal(a.scores, expected[i % len(digits)].scores) for i, a in found.items())
    ran = [e[0] for e in doomed.events() if e[1] == "ok" and e[3] > 0]
    again = len(ran) - len(set(ran))
    assert len(set(ran)) >= k
    assert again <= 3 * 4  # only what a killed server had under way may have run once more: 4 threads, 3 kills


def test_a_repeated_envelope_gets_the_stored_answer(open_device, service, digits, monkeypatch):
    """The answer is lost on its way: the same envelope brings it, and nothing runs again."""
    device = open_device(service)
    transport = device.remote._transport
    send, lost = transport.send, []

    def losing(body, headers, timeout_s):
        reply = send(body, headers, timeout_s)
        if not lost:
            lost.append(reply)
            raise Trouble("timeout", SAME)
        return reply

    monkeypatch.setattr(transport, "send", losing)
    answer = device.infer(digits[0])
    assert answer.attempts == 2 and answer.parameters["repeated"] is True
    assert np.array_equal(answer.scores, lost[0][0].outputs["final"])
    assert sum(e[3] > 0 for e in service.events()) == 1


@pytest.mark.parametrize("change", [
    lambda r: replace(r, outputs={}), lambda r: replace(r, outputs={**r.outputs, "more": r.outputs["final"]}),
    lambda r: replace(r, parameters={**r.parameters, "exit": "exit1"})], ids=["none", "more", "an exit of the head"])
def test_an_answer_that_does_not_fit_the_tail_is_none(open_device, service, digits, monkeypatch, change):
    device = open_device(service)
    send = device.remote._transport.send
    monkeypatch.setattr(device.remote._transport, "send", lambda *a: (change((found := send(*a))[0]), found[1]))
    answer = device.infer(digits[0])
    assert (answer.where, answer.reason) == ("fallback", "bad_answer")


def test_numbers_that_json_has_not_do_not_cost_the_report(open_device, service, digits, monkeypatch, spool_at, tmp_path):
    """Those of a device that computes NaN, above all."""
    device = open_device(service, telemetry=Telemetry(spool_at(tmp_path / "s.db"), Broker("127.0.0.1", 9)))
    send = device.remote._transport.send
    said = {"attack_score": float("nan"), "attack": True}
    monkeypatch.setattr(device.remote._transport, "send", lambda *a: (replace((found := send(*a))[0], parameters=said), found[1]))
    with device.telemetry:
        assert device.infer(digits[0]).where == "server"
        [entry] = device.telemetry.spool.after(0, 9)
    assert json.loads(entry.body)["event"]["server"] == {"attack_score": None, "attack": True}
    assert "unreported" not in device.counts


def test_what_cannot_be_reported_does_not_cost_the_answer(open_device, service, digits, spool_at, tmp_path):
    device = open_device(service, telemetry=Telemetry(spool_at(tmp_path / "s.db"), Broker("127.0.0.1", 9)))
    with device.telemetry:
        disk = device.telemetry.spool._db
        disk.execute(f"PRAGMA max_page_count={disk.execute('PRAGMA page_count').fetchone()[0]}")  # full
        assert {device.infer(x).where for x in digits[:60]} == {"server"}
    assert device.counts["unreported"] >= 1


def test_features_that_the_encoding_cannot_hold_stay_here(open_device, service, digits):
    device = open_device(service, encoding="fp16")
    answer = device.infer(digits[0] * np.float32(1e6))
    assert (answer.where, answer.reason) == ("fallback", "features")
    assert service.events() == []


@pytest.mark.parametrize(("options", "why"), [({"encoding": "bf16"}, "encoding"), ({"name": ""}, "name"), ({"state": None}, "state"),
                                              ({"remote": {"timeout_s": 0}}, "timeout")])
def test_settings_that_are_none_are_refused(open_device, service, options, why):
    with pytest.raises(OptionError, match=why):
        open_device(service, **options)


@pytest.mark.parametrize("server", ["ftp://h", "https://", "h:1", "https://h/v2/models/x", "http://h:99999", "http://example.org:80"])
def test_addresses_that_are_none_are_refused(parts, server):
    with pytest.raises(OptionError, match="server: expected"):
        Device(parts, server)


def test_only_the_head_has_to_be_on_the_device(parts, tmp_path, digits):
    for file in ("head.onnx", "split.json"):
        (tmp_path / file).write_bytes((parts / file).read_bytes())
    with Device(tmp_path, None) as device:
        answer = device.infer(digits[0])
    assert (answer.where, answer.reason) == ("fallback", "no_server")
    (tmp_path / "split.json").unlink()
    with pytest.raises(ModelNotFoundError):
        Device(tmp_path, None)


def test_batches_are_for_no_policy(open_device, service, digits):
    device = open_device(service, exit_policy="confidence")
    with pytest.raises(InputError, match="one input at a time"):
        device.infer(np.concatenate(list(digits[:3])))
