"""An authority and certificates of its own for one trial."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def write(folder: Path, server: str, device: str) -> dict[str, str]:
    """Paths by name: ca, server, server_key, device, device_key. server: IP address of the server; device: name in its certificate."""
    authority = ec.generate_private_key(ec.SECP256R1())
    ca = _made("edgerun trial", authority.public_key(), "edgerun trial", authority, x509.BasicConstraints(ca=True, path_length=0))
    paths = {"ca": folder / "ca.pem"}
    paths["ca"].write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for who, name, extension in (("server", server, x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(server))])),
                                 ("device", device, x509.BasicConstraints(ca=False, path_length=None))):
        key = ec.generate_private_key(ec.SECP256R1())
        paths |= {who: folder / f"{who}.pem", f"{who}_key": folder / f"{who}.key"}
        paths[who].write_bytes(_made(name, key.public_key(), "edgerun trial", authority, extension).public_bytes(serialization.Encoding.PEM))
        paths[f"{who}_key"].touch(mode=0o600)
        paths[f"{who}_key"].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                          serialization.NoEncryption()))
    return {k: str(p) for k, p in paths.items()}


def _made(name: str, public: Any, issuer: str, key: Any, extension: Any) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    called = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (name, issuer)]
    made = x509.CertificateBuilder().subject_name(called[0]).issuer_name(called[1]).public_key(public)
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    return made.not_valid_after(now + datetime.timedelta(days=2)).add_extension(extension, critical=True).sign(key, hashes.SHA256())
