"""`edgerun keys`: a device's way from its first key to its last."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from edgerun.splits.keys import DeviceKey
from edgerun.splits.ring import KeyRefused, KeyRing
from edgerun_tools.cli import main


@pytest.fixture(params=["file", "redis"])
def ring(request, tmp_path):
    return request.getfixturevalue("redis_url") if request.param == "redis" else str(tmp_path / "keys.json")


def said(capsys, *args: str) -> dict:
    assert main(["keys", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def statuses(capsys, ring: str) -> dict[str, str]:
    return {k["id"]: k["status"] for k in said(capsys, "list", "--ring", ring)["keys"]}


def test_a_device_from_its_first_key_to_its_last(capsys, tmp_path, ring):
    first = said(capsys, "new", "cam-1", "-o", str(tmp_path / "a.key"), "--ring", ring)["keys"][0]
    assert first["id"] == DeviceKey.load(tmp_path / "a.key").id == said(capsys, "show", str(tmp_path / "a.key"))["id"]
    said(capsys, "rotate", "cam-1", "--ring", ring, "-o", str(tmp_path / "b.key"), "--overlap", "1h")
    second = DeviceKey.load(tmp_path / "b.key").id
    assert statuses(capsys, ring) == {first["id"]: "valid", second: "valid"}
    ends = {k["id"]: k["not_after"] for k in said(capsys, "list", "--ring", ring)["keys"]}
    left = time.mktime(time.strptime(ends[first["id"]], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone - time.time()
    assert 3500 < left <= 3600 and ends[second] is None
    said(capsys, "revoke", "cam-1", "--ring", ring, "--key", first["id"])
    assert statuses(capsys, ring) == {first["id"]: "revoked", second: "valid"}
    said(capsys, "revoke", "cam-1", "--ring", ring)
    assert set(statuses(capsys, ring).values()) == {"revoked"}


def test_a_key_made_on_the_device_is_added_by_its_public_half(capsys, tmp_path, ring):
    shown = said(capsys, "new", "cam-1", "-o", str(tmp_path / "a.key"))["keys"][0]
    said(capsys, "add", "cam-1", shown["public"], "--ring", ring, "--not-before", "2100-01-01T00:00:00Z", "--note", "gate 3")
    found = said(capsys, "list", "--ring", ring)["keys"]
    assert [(k["id"], k["status"], k["note"]) for k in found] == [(shown["id"], "not_yet_valid", "gate 3")]


def test_a_revoked_key_is_never_let_in_again(capsys, tmp_path, ring):
    shown = said(capsys, "new", "cam-1", "-o", str(tmp_path / "a.key"), "--ring", ring)["keys"][0]
    said(capsys, "revoke", "cam-1", "--ring", ring)
    assert main(["keys", "add", "cam-1", shown["public"], "--ring", ring]) == 2
    assert "revoked" in capsys.readouterr().err
    assert set(statuses(capsys, ring).values()) == {"revoked"}


def test_an_open_ring_sees_the_command(capsys, tmp_path):
    path = str(tmp_path / "keys.json")
    shown = said(capsys, "new", "cam-1", "-o", str(tmp_path / "a.key"), "--ring", path)["keys"][0]
    held = KeyRing(path)
    assert held.find("cam-1", shown["id"])
    said(capsys, "revoke", "cam-1", "--ring", path)
    with pytest.raises(KeyRefused):
        held.find("cam-1", shown["id"])


@pytest.mark.parametrize("args", [
    ["new", "a b"], ["new", ""], ["show", "missing.key"], ["add", "cam-1", "xyz", "--ring", "keys.json"],
    ["add", "cam-1", "0" * 64, "--ring", "keys.json", "--not-after", "tomorrow"], ["revoke", "cam-1", "--ring", "missing.json"],
    ["rotate", "cam-2", "--ring", "keys.json"], ["rotate", "cam-1", "--ring", "keys.json", "--overlap", "soon"],
    ["revoke", "cam-1", "--key", "0" * 16, "--ring", "keys.json"], ["list", "--ring", "cam-1.key"],
    ["tls", "-o", "t", "--device", "server"]])
def test_what_cannot_be_is_told_in_a_line(capsys, tmp_path, monkeypatch, args):
    monkeypatch.chdir(tmp_path)
    assert main(["keys", "new", "cam-1", "--ring", "keys.json"]) == 0
    ring, files = Path("keys.json").read_text(), {p.name for p in tmp_path.glob("*.key")}
    assert main(["keys", *args]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error:") and "expected" in err and "Traceback" not in err
    assert Path("keys.json").read_text() == ring and {p.name for p in tmp_path.glob("*.key")} == files


def test_a_key_is_not_overwritten(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["keys", "new", "cam-1"]) == 0
    before = Path("cam-1.key").read_bytes()
    assert main(["keys", "new", "cam-1", "--ring", "keys.json"]) == 2
    assert Path("cam-1.key").read_bytes() == before and not KeyRing("keys.json").entries()


def test_certificates_for_trials(tmp_path, capsys):
    """The server's is for its host, the device's has its name, both of the authority; private keys are their owner's."""
    pytest.importorskip("trustme", reason="needs trustme")
    from cryptography import x509

    assert main(["keys", "tls", "-o", str(tmp_path), "--host", "edge.local", "--host", "10.1.2.3", "--device", "cam_1", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    authority, server, device = (x509.load_pem_x509_certificate(Path(files[n]).read_bytes()) for n in ("authority", "server", "cam_1"))
    for certificate in (server, device):
        certificate.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["edge.local"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["10.1.2.3"]
    assert device.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value == "cam_1"
    assert {Path(files[n]).stat().st_mode & 0o777 for n in ("server key", "cam_1 key")} == {0o600}
