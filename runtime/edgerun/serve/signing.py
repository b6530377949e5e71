"""Signed models, by the OpenSSF package model-signing (extra `signing`): a detached signature, in the form of a Sigstore bundle, over the
SHA-256 of every file. Of a folder the signature is `model.sig` in it, of a file the same name with `.sig`. Keys are of elliptic curves
(P-256, P-384, P-521) in PEM; nothing is asked of the network.
"""

from __future__ import annotations

import base64
import importlib
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgerun.errors import ModelNotFoundError, OptionError, SignatureError
from edgerun.splits.keys import read_private, write_private

IN_FOLDER = "model.sig"
BESIDE_FILE = ".sig"
LONGEST = 4 << 20
"""Bytes of a signature file; one of a folder of 20,000 files would fit."""


def signature_of(path: Path) -> Path:
    """Where the signature of a file or folder is."""
    return path / IN_FOLDER if path.is_dir() else path.with_name(path.name + BESIDE_FILE)


def new_key(path: str | Path) -> Path:
    """A new private key (P-256) at path, mode 600, and its public half beside it as .pub; the path of that. OptionError."""
    raw, ec = (importlib.import_module(f"cryptography.hazmat.primitives.{n}") for n in ("serialization", "asymmetric.ec"))
    private = ec.generate_private_key(ec.SECP256R1())
    write_private(path, private)
    public = Path(f"{path}.pub")
    public.write_bytes(private.public_key().public_bytes(raw.Encoding.PEM, raw.PublicFormat.SubjectPublicKeyInfo))
    return public


def sign(path: str | Path, private_key: str | Path) -> Path:
    """Sign a file, or all files of a folder; the path of the signature, which replaces an older one. ModelNotFoundError, OptionError."""
    path, package = _there(path), _package()
    read_private(private_key)
    signature = signature_of(path)
    try:
        config = package.signing.Config().set_hashing_config(_hashing()).use_elliptic_key_signer(private_key=private_key)
    except Exception as e:  # the package lets those of cryptography pass
        raise OptionError(f"{private_key}: expected a private key of the curve P-256, P-384 or P-521 in PEM; found: {e}; "
                          "`edgerun keys maker` makes one") from e
    try:
        config.sign(path, signature)
    except (OSError, ValueError) as e:
        raise OptionError(f"{path}: expected files that can be read, no links, and a place for {signature.name}; found: {e}") from e
    return signature


class Verifier:
    """Holds models against the public keys (PEM files) of those who may make them; one of them has to have signed. OptionError for a file
    that is no such key."""

    def __init__(self, public_keys: Sequence[str | Path]) -> None:
        if not public_keys:
            raise OptionError("public keys: expected at least one; found none")
        self._keys = list(public_keys)
        for key in self._keys:
            try:
                _verifying(key)
            except OptionError:
                raise
            except Exception as e:  # the package lets those of cryptography pass
                raise OptionError(f"{key}: expected a public key of the curve P-256, P-384 or P-521 in PEM; found: {e}; "
                                  "`edgerun keys maker` makes one") from e

    def __call__(self, path: str | Path) -> Mapping[Path, str]:
        """The files that are signed -> their SHA-256 (hex), for who reads them later. Every file of a folder has to be signed.
        ModelNotFoundError; SignatureError for a model without a signature, or with one that does not hold."""
        path = _there(path)
        bundle = self._read(path)
        reasons = []
        with tempfile.TemporaryDirectory() as folder:  # what is verified is what was read, whatever happens to the file
            copy = Path(folder) / "signature"
            copy.write_bytes(bundle)
            for key in self._keys:
                try:
                    _verifying(key).verify(path, copy)
                except Exception as e:  # a signature is untrusted input to the package; whatever comes of it, it does not hold
                    reasons.append(f"{Path(key).name}: {_why(e)}"[:300])
                else:
                    return _files(path, bundle)
        raise SignatureError(f"{path}: expected a signature by a trusted key over these very files; found: {'; '.join(reasons)}; get the "
                             "model again from who made it, or sign it (`edgerun sign`)")

    @staticmethod
    def _read(path: Path) -> bytes:
        signature = signature_of(path)
        try:
            with open(signature, "rb") as f:
                bundle = f.read(LONGEST + 1)
        except OSError as e:
            raise SignatureError(f"{path}: expected its signature, {signature.name}; found: {e.strerror}; the maker of the model writes it "
                                 "with `edgerun sign`") from e
        if len(bundle) > LONGEST:
            raise SignatureError(f"{signature}: expected at most {LONGEST >> 20} MiB; found more")
        return bundle


def _why(e: Exception) -> str:
    """What the package says, without the bytes of digests."""
    said = str(e).replace("\\'", "'")
    differs = re.findall(r"Hash mismatch for '[^']+'|(?:Extra files found|Missing files) in model '[^']*': [^\"'\]]+", said)
    return "; ".join(differs) or said or type(e).__name__


def _files(path: Path, bundle: bytes) -> dict[Path, str]:
    """From a bundle whose signature holds. A file has to be called what it was when it was signed: two signed models cannot be
    exchanged."""
    statement = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    name = statement["subject"][0]["name"]
    if path.is_file() and name != path.name:
        raise SignatureError(f"{path}: expected a signature of a file of this name; found one of {str(name)[:100]!r}; name it so, "
                             "or sign it again")
    resources = statement["predicate"]["resources"]
    if any(r["algorithm"] != "sha256" for r in resources):
        raise SignatureError(f"{path}: expected a signature over SHA-256; found another digest; sign it with `edgerun sign`")
    return {path if r["name"] == "." else path / r["name"]: r["digest"] for r in resources}


def _verifying(key: str | Path) -> Any:
    """The package's configuration with one key; it serves once."""
    return _package().verifying.Config().use_elliptic_key_verifier(public_key=key).set_hashing_config(_hashing())


def _hashing() -> Any:
    """SHA-256 of every file but the signature, those of Git, which the package would leave out, with them. The package takes the path of
    the signature for one in the folder: a relative one with the folder's name in it would not be found again."""
    config = _package().hashing.Config().use_file_serialization(hashing_algorithm="sha256")
    return config.set_ignored_paths(paths=(IN_FOLDER,), ignore_git_paths=False)


def _there(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise ModelNotFoundError(f"{path}: expected a model, or a folder of `edgerun split`; found none")
    return path


def _package() -> Any:
    try:
        return importlib.import_module("model_signing")
    except ImportError as e:
        raise OptionError(f"signatures: expected the package model-signing; found: {e}; run: pip install 'edgerun[signing]'") from e
