"""`edgerun keys tls`: certificates for trials and tests, from an authority made on the spot."""

from __future__ import annotations

import importlib
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from edgerun.errors import OptionError
from edgerun.splits.keys import check_device
from edgerun_tools import common
from edgerun_tools.common import answers


def command(
    out: Annotated[str, typer.Option("--out", "-o", metavar="DIR", show_default=False, help="A folder, made where absent.")],
    host: Annotated[list[str] | None, typer.Option("--host", metavar="NAME|ADDRESS", show_default="localhost, 127.0.0.1", help=(
        "Of the server (repeatable)."))] = None,
    device: Annotated[list[str] | None, typer.Option("--device", metavar="DEVICE", show_default=False, help=(
        "A client certificate with this common name (repeatable)."))] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=825, help="How long they hold.")] = 30,
    as_json: common.AsJson = False,
) -> None:
    """Certificates for trials: an authority, one for the server, and one a device for mutual TLS (package trustme). The authority's private
    key is thrown away, so all are made at once; in the field use the authority that you have.

    Examples:

      edgerun keys tls -o tls/ --host edge.local --device cam-1 --device cam-2

      edgerun serve parts/ --tls-cert tls/server.pem --tls-key tls/server.key --client-ca tls/ca.pem …
    """
    files = write(Path(out), host or ["localhost", "127.0.0.1"], device or [], days)
    if as_json:
        common.print_json({"schema": "edgerun.tls/1", "files": {k: str(v) for k, v in files.items()}})
    else:
        answers.print("\n".join(f"{k:12} {v}" for k, v in files.items()), markup=False)


def write(folder: Path, hosts: list[str], devices: list[str], days: int) -> dict[str, Path]:
    """ca.pem, server.pem and .key, <device>.pem and .key; which is which. OptionError."""
    try:
        trustme: Any = importlib.import_module("trustme")
    except ImportError as e:
        raise OptionError("keys tls: expected the package trustme; found none; run: pip install trustme") from e
    authority = trustme.CA(organization_name="edgerun trial")
    end = datetime.now(timezone.utc) + timedelta(days=days)
    issued = {"server": authority.issue_cert(*hosts, not_after=end)}
    for d in devices:
        if d in ("ca", "server"):
            raise OptionError(f"--device: expected a name other than those of the other files; found {d!r}")
        issued[check_device(d)] = authority.issue_cert("device.invalid", common_name=d, not_after=end)
    files = {"authority": folder / "ca.pem"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files["authority"].write_bytes(authority.cert_pem.bytes())
        for name, cert in issued.items():
            files[name], files[f"{name} key"] = folder / f"{name}.pem", folder / f"{name}.key"
            files[name].write_bytes(b"".join(b.bytes() for b in cert.cert_chain_pems))
            handle = os.open(files[f"{name} key"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(handle, "wb") as f:
                f.write(cert.private_key_pem.bytes())
    except OSError as e:
        raise OptionError(f"--out {folder}: expected a folder that can be written; found: {e.strerror}") from e
    return files
