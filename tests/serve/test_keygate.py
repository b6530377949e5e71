"""Everything that is wrong with a message is found by the gate, has its reason, and moves no window."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from edgerun.errors import OptionError, Refused
from edgerun.serve.keygate import LONG_BODY, KeyGate
from edgerun.serve.status import REASONS
from edgerun.serve.stores import FileKeys, open_replay
from edgerun.splits.envelope import Envelope, digest_of, seal
from edgerun.splits.keys import DeviceKey
from edgerun.splits.replay import MAX_SEQ, SIZE
from edgerun.splits.ring import Entry, KeyRing, write_ring

NOW = 1_790_000_000.0
KEY, NEXT, FOREIGN, GONE, LATER, PAST = (DeviceKey.generate() for _ in range(6))
MODEL = digest_of(b"tail.onnx")
BODY = b"features"
HTTP, GRPC = ("POST", "/v2/models/tail/infer"), ("GRPC", "/inference.GRPCInferenceService/ModelInfer")


def message(seq: int = 1, key: DeviceKey = KEY, epoch: int = 7, sent: float = NOW, body: bytes = BODY, place: tuple[str, str] = HTTP,
            device: str = "cam-1") -> Envelope:
    return seal(key, device, epoch, seq, MODEL, int(sent * 1000), body, *place)


@pytest.fixture
def ring(tmp_path):
    write_ring(tmp_path / "ring.json", [
        Entry("cam-1", KEY.public.hex()), Entry("cam-1", NEXT.public.hex()), Entry("cam-1", GONE.public.hex(), revoked=NOW - 1e6),
        Entry("cam-1", LATER.public.hex(), not_before=4e9), Entry("cam-1", PAST.public.hex(), not_after=1e9),
        Entry("cam-2", FOREIGN.public.hex())])
    return KeyRing(tmp_path / "ring.json")


def told(ring, messages, *, place=HTTP, peer="", **options):
    """What the gate says of (envelope or text, body) one after the other: "ok", "repeated", or the reason of the refusal."""

    async def ask():
        gate = KeyGate(FileKeys(ring.path), open_replay(ring.path.parent / "replay.db"), clock=lambda: NOW, **options)
        said = []
        for envelope, body in messages:
            header = envelope.format() if isinstance(envelope, Envelope) else envelope
            try:
                principal = await gate.admit(header, body, *place, peer)
                said.append("repeated" if principal.repeated else "ok")
            except Refused as e:
                leaks = str(ring.path.parent) in str(e) or ring.path.name in str(e)
                said.append("a path is told" if leaks else e.reason)
        await gate.close()
        return said

    return asyncio.run(ask())


def test_the_principal_is_what_was_signed(ring):
    async def ask():
        gate = KeyGate(FileKeys(ring.path), open_replay(ring.path.parent / "replay.db"))
        found = await gate.admit(message().format(), BODY, *HTTP, "")
        await gate.close()
        return found

    found = asyncio.run(ask())
    assert (found.device, found.key, found.epoch, found.seq, found.model, found.sent_ms, found.digest, found.repeated) == (
        "cam-1", KEY.id, 7, 1, MODEL, int(NOW * 1000), digest_of(BODY), False)


LINE = message().format()


@pytest.mark.parametrize(("header", "body", "reason"), [
    (None, BODY, "envelope_missing"), ("", BODY, "envelope_syntax"), (LINE[:-1], BODY, "envelope_syntax"),
    (LINE + "A" * 300, BODY, "envelope_syntax"),
    (LINE.replace("epoch=7", "epoch=4294967296"), BODY, "envelope_syntax"), (LINE.replace("v=1", "v=2"), BODY, "envelope_syntax"),
    (message(key=DeviceKey.generate()), BODY, "key_unknown"), (message(key=FOREIGN), BODY, "key_unknown"),
    (message(device="cam-2"), BODY, "key_unknown"), (message(key=GONE), BODY, "key_revoked"), (message(key=LATER), BODY, "key_time"),
    (message(key=PAST), BODY, "key_time"), (replace(message(key=FOREIGN), key=KEY.id), BODY, "signature"),
    (replace(message(key=FOREIGN, device="cam-2"), device="cam-1", key=KEY.id), BODY, "signature"),
    (replace(message(), seq=2), BODY, "signature"), (replace(message(), epoch=8), BODY, "signature"),
    (replace(message(), model=digest_of(b"another")), BODY, "signature"), (replace(message(), sent=0), BODY, "signature"),
    (replace(message(), digest=digest_of(b"other")), b"other", "signature"), (replace(message(), sig=bytes(64)), BODY, "signature"),
    (message(place=GRPC), BODY, "signature"), (message(place=("POST", "/v2/models/other/infer")), BODY, "signature"),
    (message(), b"Features", "digest"), (message(), b"", "digest"), (message(), BODY + b"\0", "digest"),
    (message(body=b""), BODY, "digest")])
def test_what_is_wrong_is_refused_and_uses_no_number_up(ring, header, body, reason):
    """Then the good message of the same number comes, and is served."""
    assert told(ring, [(header, body), (message(), BODY)]) == [reason, "ok"]


@pytest.mark.parametrize(("reason", "status"), [
    ("envelope_missing", 401), ("envelope_syntax", 400), ("certificate", 401), ("key_unknown", 401),
    ("key_revoked", 401), ("key_time", 401),
    ("signature", 401), ("digest", 401), ("clock", 401), ("replay", 409), ("replay_old", 409), ("epoch", 409), ("store", 503)])
def test_each_reason_is_one_of_the_table(reason, status):
    assert REASONS[reason].http == status


def test_an_unauthenticated_number_moves_no_window(ring):
    """A forger names the largest number and epoch; the device goes on as before."""
    forged = [(replace(message(), seq=MAX_SEQ), BODY), (replace(message(), epoch=2**32 - 1), BODY),
              (message(MAX_SEQ, epoch=9), b"tampered")]
    assert told(ring, [(message(1), BODY), *forged, (message(2), BODY)]) == ["ok", "signature", "signature", "digest", "ok"]


@pytest.mark.parametrize(("messages", "said"), [
    ([message(1), message(1)], ["ok", "repeated"]),
    ([message(1), message(2), message(1)], ["ok", "ok", "repeated"]),
    ([message(5), message(3), message(4), message(3)], ["ok", "ok", "ok", "repeated"]),
    ([message(1), message(1 + SIZE), message(1), message(2)], ["ok", "ok", "replay_old", "ok"]),
    ([message(1, epoch=7), message(2, epoch=6)], ["ok", "epoch"]),
    ([message(9, epoch=7), message(0, epoch=8), message(10, epoch=7)], ["ok", "ok", "epoch"]),
    ([message(MAX_SEQ), message(MAX_SEQ), message(0)], ["ok", "repeated", "replay_old"]),
    ([message(1), message(1, key=NEXT)], ["ok", "ok"])], ids=["exact", "after another", "reordered", "behind the window", "older epoch",
                                                              "after a start", "last number", "the next key counts anew"])
def test_numbers(ring, messages, said):
    assert told(ring, [(m, BODY) for m in messages]) == said


def test_a_number_used_again_with_another_body_is_marked_and_told_by_its_digest(ring):
    """The device signed two bodies with one number. The server finds no stored answer to the second, and runs nothing."""
    async def ask():
        gate = KeyGate(FileKeys(ring.path), open_replay(ring.path.parent / "replay.db"))
        found = [await gate.admit(message(body=b).format(), b, *HTTP, "") for b in (b"one", b"two")]
        await gate.close()
        return found

    first, second = asyncio.run(ask())
    assert second.repeated and not first.repeated and first.digest != second.digest


@pytest.mark.parametrize(("sent", "reason"), [(NOW, "ok"), (NOW - 29.9, "ok"), (NOW + 29.9, "ok"), (NOW - 30.1, "clock"),
                                              (NOW + 30.1, "clock"), (0, "clock")])
def test_age_is_bounded_where_asked(ring, sent, reason):
    assert told(ring, [(message(sent=sent), BODY), (message(), BODY)], max_age_s=30) == [reason, "repeated" if reason == "ok" else "ok"]


@pytest.mark.parametrize("sent", [0, 1, NOW - 1e6, NOW + 1e6])
def test_clocks_do_not_matter_where_not_asked(ring, sent):
    assert told(ring, [(message(sent=sent), BODY)]) == ["ok"]


@pytest.mark.parametrize("age", [0, -1, float("nan")])
def test_a_bound_on_age_is_a_time(ring, age):
    with pytest.raises(OptionError, match="max_age_s"):
        told(ring, [], max_age_s=age)


@pytest.mark.parametrize(("peer", "bind", "reason"), [
    ("", True, "certificate"), ("cam-1", True, "ok"), ("cam-2", True, "certificate"), ("gateway", True, "certificate"), ("", False, "ok"),
    ("gateway", False, "ok")])
def test_the_certificate_is_that_of_the_device(ring, peer, bind, reason):
    assert told(ring, [(message(), BODY)], peer=peer, bind_certificate=bind) == [reason]


def test_a_long_body_is_hashed_like_a_short_one(ring):
    body = bytes(range(256)) * (LONG_BODY // 256)
    assert told(ring, [(message(1, body=body), body), (message(2, body=body), body[:-1] + b"\0")]) == ["ok", "digest"]


@pytest.mark.parametrize("wrong", [lambda r: r.path.unlink(), lambda r: r.path.write_text("{")], ids=["lost", "damaged"])
def test_without_a_ring_nobody_is_let_in(ring, wrong):
    async def ask():
        gate = KeyGate(FileKeys(ring.path), open_replay(ring.path.parent / "replay.db"))
        wrong(ring)
        with pytest.raises(Refused) as refused:
            await gate.admit(LINE, BODY, *HTTP, "")
        await gate.close()
        return refused.value.reason, refused.value.retry_after

    assert asyncio.run(ask()) == ("store", 1)


def test_a_store_that_fails_lets_nobody_in(ring):
    async def ask():
        store = open_replay(ring.path.parent / "replay.db")
        gate = KeyGate(FileKeys(ring.path), store)
        await store.close()
        with pytest.raises(Refused) as refused:
            await gate.admit(LINE, BODY, *HTTP, "")
        return refused.value.reason

    assert asyncio.run(ask()) == "store"
