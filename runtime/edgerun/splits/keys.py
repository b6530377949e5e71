"""The keys of devices: Ed25519 (RFC 8032). The private half stays in a file of the device; edgerun.splits.ring holds the public halves."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import stat
from pathlib import Path
from typing import Any

from edgerun.errors import OptionError

_DEVICE = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def check_device(device: str) -> str:
    """The name of a device, as it was. OptionError where it is not one."""
    if not _DEVICE.fullmatch(device):
        raise OptionError(f"device: expected 1 to 64 letters, digits, dots, dashes or underscores; found {device[:80]!r}")
    return device


def key_id(public: bytes) -> str:
    """16 hex digits: the first 8 bytes of SHA-256 of the raw public key (32 bytes)."""
    return hashlib.sha256(public).hexdigest()[:16]


class DeviceKey:
    """A private key. The file is PKCS #8 in PEM, as OpenSSL writes it, readable by its owner only."""

    def __init__(self, private: Any) -> None:
        raw = _crypto("serialization")
        self._private = private
        self.public: bytes = private.public_key().public_bytes(raw.Encoding.Raw, raw.PublicFormat.Raw)
        self.id = key_id(self.public)

    @classmethod
    def generate(cls) -> DeviceKey:
        """A new key of the system's random numbers."""
        return cls(_crypto("asymmetric.ed25519").Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: str | Path) -> DeviceKey:
        """OptionError: no such file, others may read it, or not an Ed25519 key."""
        text = read_private(path)
        try:
            private = _crypto("serialization").load_pem_private_key(text, None)
        except (ValueError, TypeError, _crypto("exceptions").UnsupportedAlgorithm) as e:
            raise OptionError(f"{path}: expected an Ed25519 key in PEM without a password; found something else") from e
        if not isinstance(private, _crypto("asymmetric.ed25519").Ed25519PrivateKey):
            raise OptionError(f"{path}: expected an Ed25519 key; found {type(private).__name__.lstrip('_')}")
        return cls(private)

    def save(self, path: str | Path) -> None:
        """Write a new file of mode 600. OptionError where there is one already: a key is never overwritten."""
        write_private(path, self._private)

    def sign(self, message: bytes) -> bytes:
        """64 bytes, the same for the same message (Ed25519 needs no random numbers)."""
        return self._private.sign(message)


def read_private(path: str | Path) -> bytes:
    """The bytes of a file that only its owner may read. OptionError for any other."""
    try:
        with open(path, "rb") as f:
            mode = stat.S_IMODE(os.fstat(f.fileno()).st_mode)
            text = f.read(16384)
    except OSError as e:
        raise OptionError(f"{path}: expected a key file; found: {e.strerror}; `edgerun keys new` makes one") from e
    if mode & 0o077:
        raise OptionError(f"{path}: expected a key that only its owner may read, mode 600; found {mode:o}; run: chmod 600 {path}")
    return text


def write_private(path: str | Path, private: Any) -> None:
    """A private key of the package cryptography, in PEM (PKCS #8), as a new file of mode 600. OptionError."""
    raw = _crypto("serialization")
    text = private.private_bytes(raw.Encoding.PEM, raw.PrivateFormat.PKCS8, raw.NoEncryption())
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as f:
            f.write(text)
    except OSError as e:
        raise OptionError(f"{path}: expected a new file in a folder that can be written; found: {e.strerror}") from e


def verified(public: bytes, sig: bytes, message: bytes) -> bool:
    """Whether sig (64 bytes) is that of the key `public` (32 bytes) over the message."""
    try:
        _crypto("asymmetric.ed25519").Ed25519PublicKey.from_public_bytes(public).verify(sig, message)
    except _crypto("exceptions").InvalidSignature:
        return False
    return True


def _crypto(name: str) -> Any:
    """A module of the package cryptography, imported when it is needed. OptionError where it is absent."""
    module = "cryptography.exceptions" if name == "exceptions" else f"cryptography.hazmat.primitives.{name}"
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise OptionError("keys: expected the package cryptography; found none; run: pip install 'edgerun[device]'") from e
