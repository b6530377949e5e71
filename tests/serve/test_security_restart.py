"""Numbers outlive servers: kill -9, two servers on one Redis, and a Redis that goes away."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import threading

import pytest
from running import RESNET, sample

import edgerun
from edgerun.splits.envelope import seal
from edgerun.splits.ring import Entry, write_ring

pytest.importorskip("grpc", reason="needs the extra serve")
from process import Http, Process, serving
from sender import KEY, Sender, features_of, prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("restart"))


@pytest.fixture(scope="module")
def features(folder):
    return features_of(folder)


def test_kill_9_between_accept_and_answer(tmp_path):
    """A model that takes long; the server is killed once the number is in the file, before it answers. Its successor refuses the number,
    and serves the next."""
    write_ring(tmp_path / "keys.json", [Entry("cam-1", KEY.public.hex())])
    args = (f"tail={RESNET}", "--keys", tmp_path / "keys.json", "--checks", "full", "--workers", "1")
    x = sample(RESNET, "cat.png").repeat(8, axis=0)
    with edgerun.Session(RESNET) as session:
        name = session.inputs[0].name
    model = hashlib.sha256(RESNET.read_bytes()).hexdigest()
    server, replies = Process(*args), []
    wire = Http(server)
    body = wire.body(x, name)

    def envelope(seq):
        return seal(KEY, "cam-1", 1, seq, model, 0, body, *wire.place).format()

    def send():
        try:
            replies.append(wire.send(envelope(1), body))
        except OSError as e:
            replies.append(e)

    thread = threading.Thread(target=send)
    watch = sqlite3.connect(tmp_path / "replay.db", timeout=5)
    thread.start()
    while not watch.execute("SELECT count(*) FROM window").fetchone()[0]:
        assert thread.is_alive(), replies
    server.end(signal.SIGKILL)
    thread.join()
    watch.close()
    assert isinstance(replies[0], OSError), "the answer was there before the kill: the model is too fast for this test"
    with serving(*args) as server:
        wire = Http(server)
        assert wire.send(envelope(1), body).reason == "replay"
        assert wire.send(envelope(2), body).reason == ""


def test_of_two_servers_on_one_redis_one_wins(folder, features, redis_url):
    """The same message at both at once, keys in Redis too: one runs it, the other says replay."""
    from edgerun.serve.stores import open_ring

    open_ring(redis_url).put(Entry("cam-1", KEY.public.hex()))
    args = (f"tail={folder / 'parts'}", "--keys", redis_url, "--config", folder / "serve.toml")
    with serving(*args) as one, serving(*args) as two:
        wires = [Http(one), Http(two)]
        sender = Sender(folder, wires[0], features)
        body, said = sender.body(), []
        for _ in range(25):
            header, start, found = sender.seal(body).format(), threading.Barrier(2), []

            def send(wire, header=header, start=start, found=found):
                start.wait()
                found.append(wire.send(header, body).reason)

            threads = [threading.Thread(target=send, args=(w,)) for w in wires]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            said.append(sorted(found))
        assert said == [["", "replay"]] * 25
        open_ring(redis_url).put(Entry("cam-1", KEY.public.hex(), revoked=1.0))
        assert [w.send(sender.seal(body).format(), body).reason for w in wires] == ["key_revoked"] * 2


def test_without_redis_nobody_is_let_in(folder, features, own_redis):
    """Redis goes away under a server: refused with 503, and nothing runs. It comes back: what was used stays used."""
    with serving(f"tail={folder / 'parts'}", "--keys", folder / "keys.json", "--config", folder / "serve.toml", "--replay",
                 own_redis.url) as server:
        sender = Sender(folder, Http(server), features)
        body = sender.body()
        used = sender.seal(body).format()
        assert sender.wire.send(used, body).reason == ""
        own_redis.kill()
        reply = sender.good()
        assert (reply.status, reply.reason) == (503, "store")
        own_redis.start()
        sender.good()  # the connection that was lost is noticed here at the latest
        assert sender.good().reason == "" and sender.wire.send(used, body).reason == "replay"
