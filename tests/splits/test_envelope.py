"""An envelope is what was signed, to the byte, at the place it was signed for; anything else is refused."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgerun.errors import InputError, OptionError
from edgerun.splits.envelope import LONGEST, Envelope, Signer, answer_line, digest_of, parse_answer, seal
from edgerun.splits.keys import DeviceKey, verified

KEY = DeviceKey.generate()
MODEL = digest_of(b"tail.onnx")
METHOD, TARGET = "POST", "/v2/models/tail/infer"
BODY = b"features"
GOOD = seal(KEY, "cam-1", 7, 42, MODEL, 1_790_000_000_000, BODY, METHOD, TARGET)
LINE = GOOD.format()


def holds(text: str, method: str = METHOD, target: str = TARGET, body: bytes = BODY) -> bool:
    """What a server asks of a line, but for the ring and the window."""
    envelope = Envelope.parse(text)
    return (envelope.key == KEY.id and envelope.digest == digest_of(body)
            and verified(KEY.public, envelope.sig, envelope.signed_bytes(method, target)))


envelopes = st.builds(
    Envelope, st.from_regex(r"\A[A-Za-z0-9._-]{1,64}\Z"), st.from_regex(r"\A[0-9a-f]{16}\Z"), st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1), st.from_regex(r"\A[0-9a-f]{64}\Z"), st.integers(0, 2**64 - 1), st.from_regex(r"\A[0-9a-f]{64}\Z"),
    st.binary(min_size=64, max_size=64))


@given(envelopes)
@example(Envelope("d" * 64, "0" * 16, 2**32 - 1, 2**64 - 1, "f" * 64, 2**64 - 1, "0" * 64, b"\xff" * 64))
def test_what_is_written_is_read(envelope):
    text = envelope.format()
    assert Envelope.parse(text) == envelope and len(text) <= LONGEST and text.isascii()


@given(st.one_of(st.text(max_size=600), st.from_regex(r"v=1;device=[a-z]{1,3};key=[0-9a-f]{16};epoch=[0-9]{1,25};.*")))
def test_a_line_has_one_spelling(text):
    """Whatever is read would be written in the same characters."""
    try:
        envelope = Envelope.parse(text)
    except InputError:
        return
    assert envelope.format() == text


def test_the_good_one_holds():
    assert holds(LINE)


@pytest.mark.parametrize("bit", [0, 5])  # 5 makes capitals of small letters
@pytest.mark.parametrize("at", range(len(LINE)))
def test_a_flipped_bit_in_each_byte_of_the_header_is_refused(at, bit):
    changed = bytearray(LINE.encode())
    changed[at] ^= 1 << bit
    text = changed.decode("latin-1")
    try:
        assert not holds(text)
    except InputError:
        pass


@pytest.mark.parametrize("bit", range(8 * len(BODY)))
def test_every_flipped_bit_of_the_body_is_refused(bit):
    changed = (int.from_bytes(BODY, "big") ^ 1 << bit).to_bytes(len(BODY), "big")
    assert not holds(LINE, body=changed)


@pytest.mark.parametrize("change", [
    {"device": "cam-2"}, {"epoch": 8}, {"epoch": 0}, {"seq": 43}, {"seq": 2**64 - 1}, {"model": digest_of(b"another")}, {"sent": 0},
    {"digest": digest_of(b"other")}, {"key": "0" * 16}, {"sig": bytes(64)}])
def test_a_field_exchanged_by_a_legal_one_is_refused(change):
    assert not holds(replace(GOOD, **change).format())


@pytest.mark.parametrize(("method", "target"), [
    ("GRPC", TARGET), (METHOD, "/v2/models/other/infer"), (METHOD, TARGET + "/"), ("POST /v2", TARGET), ("", ""),
    ("GRPC", "/inference.GRPCInferenceService/ModelInfer")])
def test_a_message_cannot_be_carried_elsewhere(method, target):
    assert not holds(LINE, method, target)


@pytest.mark.parametrize("text", [
    "", "v=1", LINE[:-1], LINE[:-43], LINE[: LINE.index(";sig")], LINE + "A", LINE + ";", LINE + "\n", " " + LINE, LINE + " ",
    LINE.replace("v=1", "v=2"), LINE.replace("v=1;", ""), LINE.replace("epoch=7", "epoch=07"), LINE.replace("epoch=7", "epoch=-7"),
    LINE.replace("epoch=7", "epoch=+7"), LINE.replace("epoch=7", "epoch="), LINE.replace("epoch=7", "epoch=7.0"),
    LINE.replace("epoch=7", "epoch=4294967296"), LINE.replace("seq=42", "seq=18446744073709551616"), LINE.replace("seq=42", "seq=4_2"),
    LINE.replace("seq=42", "seq=" + "9" * 20), LINE.replace("seq=42", "seq=٤٢"), LINE.replace("seq=42", "seq=42;seq=43"),
    LINE.replace("epoch=7;seq=42", "seq=42;epoch=7"), LINE.replace("cam-1", "cam 1"), LINE.replace("cam-1", ""),
    LINE.replace("cam-1", "c" * 65), LINE.replace("cam-1", "../cam"), LINE.replace("cam-1", "cam\x00"),
    LINE.replace(KEY.id, KEY.id.upper() + "A"),
    LINE.replace(MODEL, MODEL.upper()), LINE.replace(MODEL, MODEL[:-1]), LINE + "=" * 200, "v=1;" * 200, LINE.replace(";", "; ")])
def test_other_spellings_are_refused(text):
    with pytest.raises(InputError, match="edgerun-envelope"):
        Envelope.parse(text)


def test_the_last_bits_of_the_signature_have_one_spelling():
    """64 bytes leave 4 bits of 86 base64 characters unused; a decoder that ignores them would read 16 lines as the same envelope."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(LINE[-1])
    assert last % 16 == 0
    with pytest.raises(InputError):
        Envelope.parse(LINE[:-1] + alphabet[last + 1])


def test_an_empty_body_is_signed_like_any():
    envelope = seal(KEY, "cam-1", 1, 0, MODEL, 0, b"", METHOD, TARGET)
    assert holds(envelope.format(), body=b"") and not holds(envelope.format(), body=b"\0")


def test_a_signer_never_repeats_a_number():
    signer, seen = Signer("cam-1", KEY, 3), []

    def send() -> None:
        seen.extend(signer.seal(BODY, MODEL, METHOD, TARGET).seq for _ in range(50))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(seen) == list(range(200))


def test_a_signer_has_a_clock_or_none():
    assert Signer("cam-1", KEY, 1, clock=lambda: 12.5).seal(BODY, MODEL, METHOD, TARGET).sent == 12500
    assert Signer("cam-1", KEY, 1, clock=None).seal(BODY, MODEL, METHOD, TARGET).sent == 0


@pytest.mark.parametrize(("device", "epoch"), [("", 1), ("a b", 1), ("x" * 65, 1), ("cam-1\n", 1), ("cam-1", -1), ("cam-1", 2**32)])
def test_a_signer_takes_legal_names_and_epochs(device, epoch):
    with pytest.raises(OptionError):
        Signer(device, KEY, epoch)


def test_answers_name_their_message():
    assert parse_answer(answer_line("cam-1", 7, 42, GOOD.digest)) == ("cam-1", 7, 42, GOOD.digest)


@pytest.mark.parametrize("line", ["", "device=cam-1", answer_line("cam-1", 7, 42, "0" * 63), answer_line("cam-1", 7, 42, "0" * 64) + ";"])
def test_other_answers_are_refused(line):
    with pytest.raises(InputError, match="edgerun-answer"):
        parse_answer(line)
