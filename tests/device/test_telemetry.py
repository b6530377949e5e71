"""Events by a real mosquitto: nothing that was put into the spool is lost, nothing is stored twice, whoever is killed."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import ExitStack, closing

import pytest
from brokers import Mosquitto, needs_mosquitto, python

from edgerun.broker import Broker
from edgerun.device.telemetry import Telemetry
from edgerun.errors import OptionError

pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt (extra device)")
from edgerun.serve.collector import Collector

pytestmark = needs_mosquitto


def _stored(path):
    with closing(sqlite3.connect(path)) as db:
        return sorted(db.execute("SELECT device, boot, n FROM events").fetchall())


def _wait(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def _retained(broker, topic, payload):
    """Leave a retained message at the broker."""
    client = broker.client("vandal")
    connected = []
    client.on_connect = lambda *_: connected.append(1)
    client.loop_start()
    assert _wait(lambda: connected)
    info = client.publish(topic, payload, qos=1, retain=True)
    assert _wait(info.is_published)
    client.disconnect()
    client.loop_stop()


@pytest.mark.parametrize("confirm", ["collector", "broker"])
def test_events_arrive_once_and_leave_the_spool(spool_at, tmp_path, mosquitto, confirm):
    broker = Broker("127.0.0.1", mosquitto.port)
    seen = []
    with Collector(tmp_path / "c.db", broker, on_event=seen.append) as collector, \
            Telemetry(spool := spool_at(tmp_path / "s.db"), broker, confirm=confirm) as telemetry:
        assert collector.wait_ready(10)
        for k in range(300):
            telemetry.emit({"k": k})
        assert telemetry.drain(30)
        assert _wait(lambda: collector.counts.get("stored") == 300)
    assert [(e.n, e.event["k"]) for e in seen] == [(k + 1, k) for k in range(300)]  # in order
    assert _stored(tmp_path / "c.db") == [("cam-1", spool.boot, k + 1) for k in range(300)]
    assert telemetry.counts.delivered == 300


def test_what_nobody_hears_is_kept(spool_at, tmp_path, mosquitto):
    broker = Broker("127.0.0.1", mosquitto.port)
    spool = spool_at(tmp_path / "s.db")
    with Telemetry(spool, broker, confirm="broker", patience_s=0.5) as telemetry:
        for k in range(20):
            telemetry.emit({"k": k})
        assert _wait(lambda: telemetry.counts.unheard >= 20)
        assert len(spool) == 20
        with Collector(tmp_path / "c.db", broker) as collector:
            assert telemetry.drain(20) and _wait(lambda: collector.counts.get("stored") == 20)


def test_the_device_is_away_the_broker_then_the_collector(spool_at, tmp_path, mosquitto):
    broker = Broker("127.0.0.1", mosquitto.port)
    mosquitto.kill()
    spool = spool_at(tmp_path / "s.db")
    with Telemetry(spool, broker, patience_s=1) as telemetry:
        for k in range(50):
            telemetry.emit({"k": k})
        assert not telemetry.connected and len(spool) == 50
        mosquitto.start()
        assert _wait(lambda: telemetry.connected)
        with Collector(tmp_path / "c.db", broker) as collector:
            assert telemetry.drain(30) and collector.counts["stored"] == 50


@pytest.mark.parametrize("poison", [b"", b"{", b"null", b"[" * 100_000, b'{"device":"cam-9","boot":"00","n":1}', b"\xff\xfe",
                                    b'{"device":"other","boot":"0123456789abcdef","n":1,"time":1,"dropped":0,"event":{}}',
                                    b'{"device":"cam-9","boot":"0123456789abcdef","n":1,"time":1e999,"dropped":0,"event":{}}',
                                    b'{"device":"cam-9","boot":"0123456789abcdef","n":1,"time":' + b"9" * 400 + b',"dropped":0,"event":{}}',
                                    b'{"device":"cam-9","boot":"0123456789abcdef","n":true,"time":1,"dropped":0,"event":{}}',
                                    b"x" * 200_000],
                         ids=["none", "half", "null", "deep", "fields", "bytes", "impostor", "infinite", "huge", "bool", "large"])
def test_a_poisoned_retained_message_stops_nobody(spool_at, tmp_path, mosquitto, poison):
    broker = Broker("127.0.0.1", mosquitto.port)
    if poison:
        _retained(broker, "edgerun/cam-9/events", poison)
    _retained(broker, "edgerun/cam-1/stored", poison or b"0")
    with Collector(tmp_path / "c.db", broker) as collector, Telemetry(spool_at(tmp_path / "s.db"), broker) as telemetry:
        assert collector.wait_ready(10)
        telemetry.emit({"good": 1})
        assert telemetry.drain(20)
    assert collector.counts["stored"] == 1
    assert sum(v for k, v in collector.counts.items() if k.startswith("refused_")) == (1 if poison else 0)


def test_an_event_that_the_broker_would_hang_up_on_is_dropped_and_counted(spool_at, tmp_path):
    folder = tmp_path / "broker"
    folder.mkdir()
    with ExitStack() as stack:
        mosquitto = Mosquitto(folder, "max_packet_size 2000\n").start()
        stack.callback(mosquitto.close)
        broker = Broker("127.0.0.1", mosquitto.port)
        collector = stack.enter_context(Collector(tmp_path / "c.db", broker))
        telemetry = stack.enter_context(Telemetry(spool := spool_at(tmp_path / "s.db"), broker))
        assert collector.wait_ready(10)
        telemetry.emit({"x": "y" * 3000})
        telemetry.emit({"small": 1})
        assert telemetry.drain(20)
        assert collector.counts["stored"] == 1 and spool.dropped == 1


SENDER = """
import sys, time
from edgerun.broker import Broker
from edgerun.device.spool import Spool
from edgerun.device.telemetry import Telemetry
spool = Spool(sys.argv[1], "cam-1")
print(spool.boot, flush=True)
with Telemetry(spool, Broker("127.0.0.1", int(sys.argv[2])), confirm=sys.argv[3], patience_s=2) as telemetry:
    for k in range(int(sys.argv[4])):
        telemetry.emit({"k": k})
        print(k + 1, flush=True)
        time.sleep(0.002)
    telemetry.drain(60)
print("done", len(spool), flush=True)
"""
COLLECTOR = """
import sys, time
from edgerun.broker import Broker
from edgerun.serve.collector import Collector
with Collector(sys.argv[1], Broker("127.0.0.1", int(sys.argv[2]))) as collector:
    collector.wait_ready(30)
    print("ready", flush=True)
    time.sleep(120)
"""


def _collector(stack, path, port):
    child = python(stack, COLLECTOR, path, port)
    assert child.stdout.readline() == "ready\n"
    return child


def _sender(stack, path, port, count, confirm="collector"):
    child = python(stack, SENDER, path, port, confirm, count)
    return child, child.stdout.readline().strip()


@pytest.mark.parametrize("victim", ["broker", "collector", "device"])
def test_kill_9_loses_and_doubles_nothing(tmp_path, mosquitto, victim):
    with ExitStack() as stack:
        collector = _collector(stack, tmp_path / "c.db", mosquitto.port)
        child, boot = _sender(stack, tmp_path / "s.db", mosquitto.port, 600)
        expected = []
        for k in (100, 200, 300):  # in the middle of the work, three times
            while (n := int(child.stdout.readline())) < (k if victim != "device" else 100):
                pass
            if victim == "broker":
                mosquitto.kill()
                time.sleep(0.3)
                mosquitto.start()
            elif victim == "collector":
                collector.kill()
                collector.wait()
                collector = _collector(stack, tmp_path / "c.db", mosquitto.port)
            else:
                child.kill()
                told = [n, *(int(line) for line in child.stdout.read().splitlines() if line.isdigit())]
                expected.append((boot, max(told)))
                child, boot = _sender(stack, tmp_path / "s.db", mosquitto.port, 600 if k == 300 else 10_000)
        assert child.stdout.read().splitlines()[-1] == "done 0"
        expected.append((boot, 600))
        stored = _stored(tmp_path / "c.db")
        assert len(stored) == len(set(stored))
        for boot, told in expected:
            assert [n for _, b, n in stored if b == boot][:told] == list(range(1, told + 1))


def test_what_a_killed_broker_held_for_an_absent_collector_is_sent_again(tmp_path, mosquitto):
    """The broker has acknowledged everything, has passed on nothing, and forgets it: the reason for confirm="collector"."""
    with ExitStack() as stack:
        collector = _collector(stack, tmp_path / "c.db", mosquitto.port)
        collector.kill()
        collector.wait()
        child, boot = _sender(stack, tmp_path / "s.db", mosquitto.port, 100)
        while int(child.stdout.readline()) < 100:
            pass
        time.sleep(0.5)
        mosquitto.kill()
        mosquitto.start()
        _collector(stack, tmp_path / "c.db", mosquitto.port)
        assert child.stdout.read().splitlines()[-1] == "done 0"
        assert _stored(tmp_path / "c.db") == [("cam-1", boot, n) for n in range(1, 101)]


@pytest.mark.parametrize("text", ["", "http://x", "x:y", "mqtt://", "mqtts://h/path"])
def test_a_broker_that_is_none_is_refused(text):
    with pytest.raises(OptionError, match="expected HOST"):
        Broker.parse(text)


def test_how_a_broker_is_named():
    assert Broker.parse("h") == Broker("h", 1883)
    assert Broker.parse("mqtts://me:p%40ss@h") == Broker("h", 8883, True, username="me", password="p@ss")
    assert json.dumps(str(Broker.parse("mqtts://me:secret@h:1"))) == '"mqtts://h:1"'  # no password in what is shown
