"""A model that is not what its maker signed is refused before it is parsed; real models of the zoo, split for real."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import ALEXNET, DIGITS

from edgerun.errors import ModelNotFoundError, OptionError, SignatureError
from edgerun.serve.served import Served
from edgerun_tools.cli import main

pytest.importorskip("model_signing", reason="needs the extra signing")
from edgerun.serve.signing import Verifier, new_key, sign, signature_of

SIGNATURE_EXIT = 7


@pytest.fixture(scope="module")
def makers(tmp_path_factory):
    """Folder with ours.pem and theirs.pem, and their public halves."""
    folder = tmp_path_factory.mktemp("makers")
    for name in ("ours.pem", "theirs.pem"):
        new_key(folder / name)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, makers):
    """model/digits.onnx with its signature, and parts/ of edgerun split with theirs."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(DIGITS, folder / "digits.onnx")
    sign(folder / "digits.onnx", makers / "ours.pem")
    assert main(["split", str(ALEXNET), "--at", "/segments.1/segments.1.2/Relu_output_0", "-o", str(folder / "parts"), "--json"]) == 0
    sign(folder / "parts", makers / "ours.pem")
    return folder


@pytest.fixture
def copy(made, tmp_path):
    """The same, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "made"))


@pytest.fixture
def verifier(makers):
    return Verifier([makers / "ours.pem.pub"])


@pytest.mark.parametrize(("name", "files"), [("digits.onnx", {"digits.onnx"}), ("parts", {"head.onnx", "split.json", "tail.onnx"})])
def test_what_was_signed_holds(made, verifier, name, files):
    found = verifier(made / name)
    assert {p.name for p in found} == files
    assert all(hashlib.sha256(p.read_bytes()).hexdigest() == d for p, d in found.items())


def _flip(path: Path, at: int = -7) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def _payload(path: Path, change) -> None:
    bundle = json.loads(path.read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    path.write_text(json.dumps(bundle))


def _bundle(path: Path, change) -> None:
    bundle = json.loads(path.read_text())
    change(bundle["dsseEnvelope"])
    path.write_text(json.dumps(bundle))


WRONG = {
    "a flipped bit of the model": lambda f: _flip(f / "digits.onnx"),
    "a model cut short": lambda f: (f / "digits.onnx").write_bytes((f / "digits.onnx").read_bytes()[:-1]),
    "no signature": lambda f: (f / "digits.onnx.sig").unlink(),
    "an empty signature": lambda f: (f / "digits.onnx.sig").write_bytes(b""),
    "noise as signature": lambda f: (f / "digits.onnx.sig").write_bytes(os.urandom(2000)),
    "JSON as signature": lambda f: (f / "digits.onnx.sig").write_text("{}"),
    "deep JSON as signature": lambda f: (f / "digits.onnx.sig").write_text("[" * 100_000),
    "a signature that is too long": lambda f: (f / "digits.onnx.sig").write_bytes(b" " * (5 << 20)),
    "another signed model": lambda f: shutil.copy(f / "parts/tail.onnx", f / "digits.onnx"),
    "the signature of another": lambda f: shutil.copy(f / "parts/model.sig", f / "digits.onnx.sig"),
    "a digest changed in the signature": lambda f: _payload(
        f / "digits.onnx.sig", lambda s: s["predicate"]["resources"][0].update(digest="0" * 64)),
    "a signature without bytes": lambda f: _bundle(f / "digits.onnx.sig", lambda e: e["signatures"][0].update(sig="")),
    "no signatures in the signature": lambda f: _bundle(f / "digits.onnx.sig", lambda e: e.update(signatures=[])),
    "a signature cut short": lambda f: _bundle(
        f / "digits.onnx.sig", lambda e: e["signatures"][0].update(sig=e["signatures"][0]["sig"][:-8])),
}
WRONG_FOLDER = {
    "a flipped bit of the tail": lambda f: _flip(f / "tail.onnx"),
    "a flipped bit of the head": lambda f: _flip(f / "head.onnx"),
    "a changed page": lambda f: (f / "split.json").write_text((f / "split.json").read_text().replace("tail.onnx", "head.onnx")),
    "a file too many": lambda f: (f / "detector.onnx").write_bytes(DIGITS.read_bytes()),
    "a hidden file too many": lambda f: (f / ".gitignore").write_text("*"),
    "a file too few": lambda f: (f / "head.onnx").unlink(),
    "head and tail exchanged": lambda f: [
        (f / "head.onnx").rename(f / "x"), (f / "tail.onnx").rename(f / "head.onnx"), (f / "x").rename(f / "tail.onnx")],
    "a link in place of a file": lambda f: [(f / "tail.onnx").rename(f.parent / "t"), (f / "tail.onnx").symlink_to(f.parent / "t")],
    "no signature": lambda f: (f / "model.sig").unlink(),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_file_that_was_changed_is_refused(copy, verifier, wrong):
    wrong(copy)
    with pytest.raises(SignatureError, match=r"digits\.onnx"):
        Served(copy / "digits.onnx", verify=verifier)


@pytest.mark.parametrize("wrong", WRONG_FOLDER.values(), ids=WRONG_FOLDER)
def test_a_folder_that_was_changed_is_refused(copy, verifier, wrong):
    wrong(copy / "parts")
    with pytest.raises(SignatureError, match="parts"):
        Served(copy / "parts", verify=verifier)


@pytest.mark.parametrize("name", ["digits.onnx", "parts"])
def test_another_maker_is_refused(copy, makers, verifier, name):
    sign(copy / name, makers / "theirs.pem")
    with pytest.raises(SignatureError, match="trusted key"):
        verifier(copy / name)
    both = Verifier([makers / "ours.pem.pub", makers / "theirs.pem.pub"])  # as while one follows the other
    assert both(copy / name)


def test_a_detector_beside_a_signed_model_needs_a_signature_too(copy, verifier):
    """One that is given by its path, outside of what was signed."""
    shutil.copy(DIGITS, copy / "detector.onnx")
    with pytest.raises(SignatureError, match=r"detector\.onnx"):
        Served(copy / "parts", detector=copy / "detector.onnx", verify=verifier)


def test_two_signed_models_cannot_be_exchanged(copy, makers, verifier):
    shutil.copy(ALEXNET, copy / "alexnet.onnx")
    sign(copy / "alexnet.onnx", makers / "ours.pem")
    for suffix in ("", ".sig"):
        shutil.copy(copy / f"alexnet.onnx{suffix}", copy / f"digits.onnx{suffix}")
    with pytest.raises(SignatureError, match="name"):
        verifier(copy / "digits.onnx")


def test_a_model_that_changes_after_it_was_verified_is_refused(copy, verifier):
    """Between the look at the signature and the reading of the file."""
    def verify(path):
        signed = verifier(path)
        _flip(copy / "digits.onnx")
        return signed

    with pytest.raises(SignatureError, match="another one"):
        Served(copy / "digits.onnx", verify=verify)


@pytest.mark.parametrize("name", ["digits.onnx", "parts"])
def test_a_signed_model_is_served(copy, verifier, name):
    served = Served(copy / name, verify=verifier)
    served.self_test()
    served.close()
    assert served.healthy


def test_signing_again_replaces_the_signature(copy, makers, verifier):
    _flip(copy / "parts/tail.onnx", 200)
    sign(copy / "parts", makers / "ours.pem")
    assert copy / "parts/model.sig" == signature_of(copy / "parts") and len(verifier(copy / "parts")) == 3


@pytest.mark.parametrize("name", ["parts", "parts/", "./parts", "../made/parts"])
def test_a_folder_signed_by_a_relative_path_holds_wherever_it_goes(copy, makers, verifier, monkeypatch, name):
    monkeypatch.chdir(copy)
    sign(name, makers / "ours.pem")
    assert len(verifier(name)) == len(verifier(copy / "parts")) == 3
    shutil.copytree("parts", "elsewhere/parts")
    assert len(verifier("elsewhere/parts")) == 3
    (copy / "parts/more").write_text("x")
    with pytest.raises(SignatureError, match="more"):
        verifier(name)


def test_the_package_s_own_command_agrees(copy, makers, verifier):
    """What it signs holds here, what is signed here holds there."""
    def package(*args):
        return subprocess.run([sys.executable, "-m", "model_signing", *map(str, args), "--signature", copy / "parts/model.sig"],
                              capture_output=True, text=True)

    done = package("verify", "key", copy / "parts", "--public_key", makers / "ours.pem.pub")
    assert done.returncode == 0, done.stderr
    (copy / "parts/model.sig").unlink()
    done = package("sign", "key", copy / "parts", "--private_key", makers / "ours.pem")
    assert done.returncode == 0, done.stderr
    assert len(verifier(copy / "parts")) == 3


@pytest.mark.parametrize("text", [b"", b"noise"])
def test_a_key_that_is_none_is_refused(tmp_path, copy, text):
    (tmp_path / "k").write_bytes(text)
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(OptionError, match="P-256"):
        Verifier([tmp_path / "k"])
    with pytest.raises(OptionError, match="P-256"):
        sign(copy / "parts", tmp_path / "k")


def test_a_private_key_that_others_may_read_is_refused(tmp_path, copy, makers):
    shutil.copy(makers / "ours.pem", tmp_path / "k")
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(OptionError, match="chmod 600"):
        sign(copy / "parts", tmp_path / "k")


def test_a_missing_model_is_told_as_such(tmp_path, makers, verifier):
    for ask in (verifier, lambda p: sign(p, makers / "ours.pem")):
        with pytest.raises(ModelNotFoundError):
            ask(tmp_path / "none.onnx")


def test_the_commands(copy, makers, capsys):
    """keys maker, sign, verify: 0; a changed model: 7, and one line that says so."""
    assert main(["keys", "maker", "-o", str(copy / "new.pem")]) == 0
    assert main(["sign", str(copy / "parts"), "--key", str(copy / "new.pem")]) == 0
    assert main(["verify", str(copy / "parts"), "--key", str(makers / "ours.pem.pub"), "--key", str(copy / "new.pem.pub"), "--json"]) == 0
    files = json.loads(capsys.readouterr().out.splitlines()[-1])["files"]
    assert {Path(f).name for f in files} == {"head.onnx", "split.json", "tail.onnx"}
    _flip(copy / "parts/tail.onnx")
    assert main(["verify", str(copy / "parts"), "--key", str(copy / "new.pem.pub")]) == SIGNATURE_EXIT
    said = capsys.readouterr().err
    assert "Hash mismatch for 'tail.onnx'" in said and "digest_value" not in said and "Traceback" not in said


def test_a_server_does_not_start_with_a_model_that_does_not_hold(copy, makers):
    _flip(copy / "digits.onnx")
    assert main(["serve", str(copy / "digits.onnx"), "--insecure", "--http-port", "0", "--grpc-port", "-1", "--verify-key",
                 str(makers / "ours.pem.pub")]) == SIGNATURE_EXIT
