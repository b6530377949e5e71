"""Keys in files, and the ring: who is let in, when, and no longer."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from edgerun.errors import OptionError, SignatureError
from edgerun.splits.keys import DeviceKey, key_id, verified
from edgerun.splits.ring import Entry, KeyRefused, KeyRing, write_ring

OLD, NEW = DeviceKey.generate(), DeviceKey.generate()


@pytest.fixture
def ring(tmp_path):
    write_ring(tmp_path / "ring.json", [Entry("cam-1", OLD.public.hex())])
    return KeyRing(tmp_path / "ring.json")


def test_a_key_is_the_same_after_a_file(tmp_path):
    OLD.save(tmp_path / "cam.key")
    again = DeviceKey.load(tmp_path / "cam.key")
    assert (tmp_path / "cam.key").stat().st_mode & 0o777 == 0o600
    assert again.public == OLD.public and again.id == OLD.id == key_id(OLD.public) and again.sign(b"x") == OLD.sign(b"x")


def test_the_signature_is_that_of_rfc_8032():
    """Test 2 of RFC 8032, 7.1."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = DeviceKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")))
    assert key.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == ("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                                       "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_openssl_reads_the_file(tmp_path):
    OLD.save(tmp_path / "cam.key")
    command = ["openssl", "pkey", "-in", tmp_path / "cam.key", "-noout", "-text"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "ED25519" in text.upper()
    assert OLD.public.hex() in "".join(text.split("pub:")[1].split()).replace(":", "")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path, mode):
    OLD.save(tmp_path / "cam.key")
    (tmp_path / "cam.key").chmod(mode)
    with pytest.raises(OptionError, match="chmod 600"):
        DeviceKey.load(tmp_path / "cam.key")


def test_a_key_is_never_overwritten(tmp_path):
    OLD.save(tmp_path / "cam.key")
    with pytest.raises(OptionError, match="new file"):
        NEW.save(tmp_path / "cam.key")
    assert DeviceKey.load(tmp_path / "cam.key").id == OLD.id


def _rsa() -> bytes:
    from cryptography.hazmat.primitives import serialization as raw
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(raw.Encoding.PEM, raw.PrivateFormat.PKCS8, raw.NoEncryption())


@pytest.mark.parametrize("text", [b"", b"not a key", _rsa()], ids=["empty", "noise", "another kind"])
def test_what_is_no_key_is_refused(tmp_path, text):
    (tmp_path / "k").write_bytes(text)
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(OptionError, match="Ed25519"):
        DeviceKey.load(tmp_path / "k")


def test_a_missing_key_names_the_command(tmp_path):
    with pytest.raises(OptionError, match="edgerun keys new"):
        DeviceKey.load(tmp_path / "none")


@pytest.mark.parametrize("sig", [
    OLD.sign(b"other"), NEW.sign(b"message"), b"", bytes(64), OLD.sign(b"message")[:-1], OLD.sign(b"message") + b"\0"],
    ids=["another message", "another key", "empty", "zeros", "short", "long"])
def test_other_signatures_do_not_hold(sig):
    assert verified(OLD.public, OLD.sign(b"message"), b"message") and not verified(OLD.public, sig, b"message")


@pytest.mark.parametrize(("change", "now", "reason"), [
    ({}, 100, None), ({"not_before": 50}, 49.9, "key_not_yet_valid"), ({"not_before": 50}, 50, None), ({"not_after": 50}, 49.9, None),
    ({"not_after": 50}, 50, "key_expired"), ({"revoked": 200}, 100, "key_revoked"), ({"revoked": 1, "not_after": 2}, 100, "key_revoked")])
def test_a_key_has_its_time(ring, change, now, reason):
    ring.put(replace(ring.entries()[0], **change))
    if reason is None:
        assert ring.find("cam-1", OLD.id, now) == OLD.public
    else:
        with pytest.raises(KeyRefused) as refused:
            ring.find("cam-1", OLD.id, now)
        assert refused.value.reason == reason and isinstance(refused.value, SignatureError)


@pytest.mark.parametrize(("device", "key"), [("cam-2", OLD.id), ("cam-1", NEW.id), ("", ""), ("CAM-1", OLD.id)],
                         ids=["another device", "another key", "neither", "capitals"])
def test_a_key_is_of_one_device(ring, device, key):
    with pytest.raises(KeyRefused) as refused:
        ring.find(device, key, 0)
    assert refused.value.reason == "key_unknown"


def test_two_keys_hold_while_one_follows_the_other(ring):
    ring.put(replace(ring.entries()[0], not_after=200.0), Entry("cam-1", NEW.public.hex(), not_before=100.0))
    assert ring.find("cam-1", OLD.id, 150) == OLD.public and ring.find("cam-1", NEW.id, 150) == NEW.public
    with pytest.raises(KeyRefused):
        ring.find("cam-1", OLD.id, 250)
    assert ring.find("cam-1", NEW.id, 250) == NEW.public


def test_a_revocation_is_seen_by_who_has_the_ring_open(ring):
    assert ring.find("cam-1", OLD.id) == OLD.public
    other = KeyRing(ring.path)
    other.put(replace(other.entries()[0], revoked=1.0))
    with pytest.raises(KeyRefused):
        ring.find("cam-1", OLD.id)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "other", "keys": []}', '{"schema": "edgerun.keys/1"}', "[" * 5000,
                                  '{"schema": "edgerun.keys/1", "keys": [7]}', '{"schema": "edgerun.keys/1", "keys": [{"device": "a"}]}'])
def test_a_damaged_ring_lets_nobody_in(ring, text):
    ring.path.write_text(text)
    with pytest.raises(OptionError):
        ring.find("cam-1", OLD.id)
    with pytest.raises(OptionError):  # and again: it is not remembered as read
        ring.find("cam-1", OLD.id)


def test_a_lost_ring_lets_nobody_in(ring):
    ring.path.unlink()
    with pytest.raises(OptionError, match="edgerun keys add"):
        ring.find("cam-1", OLD.id)


@pytest.mark.parametrize("change", [
    {"device": "a b"}, {"device": 7}, {"public": "AAAA"}, {"public": 7}, {"public": "g" * 64}, {"id": "0" * 16},
    {"not_before": "yesterday"}, {"not_after": 7}, {"revoked": True}, {"extra": 1}, {"public": OLD.public.hex().upper()}])
def test_an_entry_of_another_form_is_refused(ring, change):
    raw = json.loads(ring.path.read_text())
    raw["keys"][0] |= change
    ring.path.write_text(json.dumps(raw))
    with pytest.raises(OptionError):
        ring.find("cam-1", OLD.id)


def test_times_survive_the_file(ring):
    entry = Entry("cam-2", NEW.public.hex(), not_before=1_790_000_000.0, not_after=1_800_000_000.0, note="gate 3")
    ring.put(entry)
    assert KeyRing(ring.path).entry("cam-2", NEW.id) == entry
