"""What brokers were attacked with, and what an attacker who took one over could send to its clients, byte by byte: telemetry lives on, and
nothing is lost. A socket that speaks just enough MQTT 5 to be believed stands for that broker; no real one sends such packets."""

from __future__ import annotations

import resource
import socket
import struct
import threading
import time

import pytest

from edgerun.broker import PACKET_MOST, Broker
from edgerun.device.telemetry import Telemetry, read_ids

pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt (extra device)")
from edgerun.serve.collector import Collector

CONNACK = b"\x20\x03\x00\x00\x00"


def _length(n):
    out = b""
    while True:
        n, low = divmod(n, 128)
        out += bytes([low | (0x80 if n else 0)])
        if not n:
            return out


def _publish(topic, payload, qos=1, mid=7, properties=b"\x00"):
    body = struct.pack(">H", len(topic)) + topic + (struct.pack(">H", mid) if qos else b"") + properties + payload
    return bytes([0x30 | qos << 1]) + _length(len(body)) + body


class Hostile:
    """Answers CONNECT and SUBSCRIBE, then sends `packets`; says nothing to anything else. Counts connections."""

    def __init__(self, packets):
        self._packets, self.connections = packets, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with peer:
                self._serve(peer)

    def _serve(self, peer):
        peer.settimeout(5)
        try:
            peer.recv(4096)
            peer.sendall(CONNACK)
            asked = peer.recv(4096)
            at = asked.find(b"\x82")
            peer.sendall(b"\x90\x04" + asked[at + 2:at + 4] + b"\x00\x01")
            for packet in self._packets:
                peer.sendall(packet)
            while peer.recv(4096):
                pass
        except OSError:
            pass

    def close(self):
        self._listener.close()
        self._thread.join(1)


PACKETS = {
    "a topic without length (CVE-2021-34432)": [_publish(b"", b"{}")],
    "an unknown topic alias": [_publish(b"", b"{}", properties=b"\x03\x23\x00\x09")],
    "a topic that is not UTF-8": [_publish(b"\xff\xfe", b"{}")],
    "a topic longer than the packet": [b"\x32\x04\xff\xff\x00\x00"],
    "QoS 2 numbers that are never released (CVE-2023-28366)": [_publish(b"t", b"x", qos=2, mid=m) for m in range(1, 300)],
    "QoS 3": [b"\x36\x05\x00\x01t\x00\x01"],
    "an acknowledgement of nothing": [b"\x40\x02\x00\x63"],
    "a length of five bytes": [b"\x32\xff\xff\xff\xff\x7f"],
    "256 MiB announced (CVE-2023-0809)": [b"\x32" + _length(268_435_455) + b"x" * 100_000],
    "properties that end early": [b"\x32\x06\x00\x01t\x00\x01\x7f"],
    "a packet type that does not exist": [b"\xf0\x02\x00\x00", b"\x00\x00"],
    "a poisoned confirmation": [_publish(b"edgerun/cam-1/stored", p) for p in (
        b"", b"[]", b"{", b'{"boot":1,"n":[1]}', b'{"boot":"x","n":[true]}', b'{"boot":"x","n":' + b"[" * 5000, b'{"boot":"x","n":[1e999]}',
        b'{"boot":"x","n":[' + b"9" * 5000 + b"]}")],
}


@pytest.mark.parametrize("packets", PACKETS.values(), ids=PACKETS.keys())
def test_telemetry_lives_on_and_loses_nothing(spool_at, tmp_path, packets):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    broker = Hostile(packets)
    spool = spool_at(tmp_path / "s.db")
    with Telemetry(spool, Broker("127.0.0.1", broker.port), patience_s=0.5) as telemetry:
        for k in range(5):
            telemetry.emit({"k": k})
        time.sleep(1.0)
        assert telemetry._pump.is_alive() and telemetry._client._thread.is_alive()
        telemetry.emit({"after": True})
    broker.close()
    assert [e.n for e in spool.after(0, 100)] == [1, 2, 3, 4, 5, 6]
    assert broker.connections >= 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # KiB


@pytest.mark.parametrize("packets", PACKETS.values(), ids=PACKETS.keys())
def test_the_collector_lives_on_and_stores_nothing(tmp_path, packets):
    broker = Hostile(packets)
    with Collector(tmp_path / "c.db", Broker("127.0.0.1", broker.port)) as collector:
        time.sleep(0.8)
        assert collector._writer.is_alive() and collector._client._thread.is_alive()
        assert collector.counts.get("stored", 0) == 0
    broker.close()


def test_a_packet_that_is_too_large_is_not_taken():
    client = Broker("127.0.0.1", 1).client("c")
    with pytest.raises(ConnectionError, match="announced"):
        client._sock_recv(PACKET_MOST + 1)


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b'{"boot":"a"}', b'{"boot":"a","n":1}', b'{"boot":"a","n":[0]}',
                                     b'{"boot":"a","n":["1"]}'])
def test_confirmations_that_are_none(payload):
    assert read_ids(payload) is None
