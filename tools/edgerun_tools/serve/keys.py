"""Keys: of devices, of those who make models, and certificates for trials.

Examples:

  edgerun keys new cam-1 --ring keys.json              a key for a device, known to the server from now on

  edgerun keys rotate cam-1 --ring keys.json --overlap 7d

  edgerun keys list --ring keys.json
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from edgerun.errors import OptionError
from edgerun.serve import signing
from edgerun.serve.stores import RingAdmin, open_ring
from edgerun.splits.keys import DeviceKey, check_device
from edgerun.splits.ring import Entry, time_of
from edgerun_tools import common
from edgerun_tools.common import answers
from edgerun_tools.serve import tls

SCHEMA = "edgerun.keylist/1"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Device = Annotated[str, typer.Argument(metavar="DEVICE", show_default=False, help="Its name: letters, digits, dots, dashes, underscores.")]
Ring = Annotated[str, typer.Option("--ring", "-r", metavar="FILE|redis://…", show_default=False, help="The ring that the server reads.")]
Out = Annotated[str | None, typer.Option("--out", "-o", metavar="FILE", show_default="DEVICE.key", help=(
    "Where the private key goes (mode 600)."))]
NotAfter = Annotated[str | None, typer.Option("--not-after", metavar="TIME", show_default=False, help="UTC, as 2027-01-31T00:00:00Z.")]
Note = Annotated[str, typer.Option("--note", help="Anything; shown by `list`.", show_default=False)]


def new(device: Device, out: Out = None,
        ring: Annotated[str | None, typer.Option("--ring", "-r", metavar="FILE|redis://…", show_default=False, help=(
            "Add the public half to this ring (made where absent)."))] = None,
        not_after: NotAfter = None, note: Note = "", as_json: common.AsJson = False) -> None:
    """Make a key (Ed25519) for a device. The private half belongs on the device, and nowhere else.

    Examples:

      edgerun keys new cam-1                               writes cam-1.key, prints the public half

      edgerun keys new cam-1 -o /etc/edgerun/key --ring redis://keys.internal:6379/0
    """
    admin = open_ring(ring, create=True) if ring else None
    entry, path = _generated(device, out, time_of(not_after), note)
    if admin is not None:
        admin.put(entry)
    _show([entry], as_json, {"file": str(path)})


def show(file: Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="A private key.")],
         as_json: common.AsJson = False) -> None:
    """Show the id and the public half of a key.

    Examples:

      edgerun keys show cam-1.key
    """
    key = DeviceKey.load(file)
    if as_json:
        common.print_json({"schema": SCHEMA, "file": file, "id": key.id, "public": key.public.hex()})
    else:
        answers.print(f"id      {key.id}\npublic  {key.public.hex()}", markup=False)


def add(device: Device, public: Annotated[str, typer.Argument(metavar="PUBLIC", show_default=False, help=(
            "What `new` or `show` printed on the device."))], ring: Ring,
        not_before: Annotated[str | None, typer.Option("--not-before", metavar="TIME", show_default=False, help=(
            "UTC, as 2027-01-31T00:00:00Z."))] = None,
        not_after: NotAfter = None, note: Note = "", as_json: common.AsJson = False) -> None:
    """Let a device in by its public key, beside the keys it has. Servers see it at the next message.

    Examples:

      edgerun keys add cam-1 dd9f3f470495f8768c52f2d85636408aa80456696dcccb77c12126020f71614a --ring keys.json
    """
    entry = Entry(device, public, time_of(not_before), time_of(not_after), None, note)
    admin = open_ring(ring, create=True)
    if any((e.device, e.id) == (device, entry.id) for e in admin.entries()):
        raise OptionError(f"key {entry.id} of {device}: expected a new one; found it in the ring; a revoked key is never let in again")
    admin.put(entry)
    _show([entry], as_json)


def revoke(device: Device, ring: Ring,
           key: Annotated[str | None, typer.Option("--key", metavar="ID", show_default=False, help="Only this key.")] = None,
           as_json: common.AsJson = False) -> None:
    """Let a device in no longer, by one key or by all it has: from the next message on, for good, without a restart.

    Examples:

      edgerun keys revoke cam-1 --ring keys.json

      edgerun keys revoke cam-1 --key dfa4167aded21127 --ring keys.json
    """
    admin = open_ring(ring)
    gone = [replace(e, revoked=_now()) for e in _of(admin, device) if e.revoked is None and key in (None, e.id)]
    if not gone:
        raise OptionError(f"device {device}: expected {'key ' + key if key else 'a key'} to revoke; found none; "
                          "`edgerun keys list` shows all")
    admin.put(*gone)
    _show(gone, as_json)


def rotate(device: Device, ring: Ring, out: Out = None,
           overlap: Annotated[str, typer.Option("--overlap", metavar="7d", help="How long the old keys hold beside the new one.")] = "7d",
           as_json: common.AsJson = False) -> None:
    """A new key for a device; those it has end after the overlap, in which it is moved to the new one.

    Examples:

      edgerun keys rotate cam-1 --ring keys.json -o cam-1.new.key --overlap 12h
    """
    admin = open_ring(ring)
    end = _now() + seconds(overlap)
    old = [e for e in _of(admin, device) if e.status(_now()) in ("valid", "key_not_yet_valid")]
    entry, path = _generated(device, out, None, "")
    admin.put(*(replace(e, not_after=min(e.not_after or end, end)) for e in old), entry)
    _show(_of(admin, device), as_json, {"file": str(path)})


def listed(ring: Ring, as_json: common.AsJson = False) -> None:
    """List the keys of a ring, and whether they hold now.

    Examples:

      edgerun keys list --ring keys.json
    """
    _show(open_ring(ring).entries(), as_json)


def maker(out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help=(
              "Private key; the public half goes to FILE.pub."))] = "maker.pem",
          as_json: common.AsJson = False) -> None:
    """Make the key (P-256) of one who signs models.

    Examples:

      edgerun keys maker -o maker.pem
    """
    public = signing.new_key(out)
    if as_json:
        common.print_json({"schema": SCHEMA, "file": out, "public": str(public)})
    else:
        answers.print(f"private  {out}\npublic   {public}", markup=False)


group = {"new": new, "show": show, "add": add, "revoke": revoke, "rotate": rotate, "list": listed, "maker": maker, "tls": tls.command}


def seconds(text: str) -> float:
    """"90s", "15m", "12h", "7d". OptionError."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise OptionError(f"--overlap: expected a time as 90s, 15m, 12h or 7d; found {text!r}")
    return float(found[1]) * UNITS[found[2]]


def _now() -> float:
    """To the second, as the ring keeps it."""
    return float(int(time.time()))


def _generated(device: str, out: str | None, not_after: float | None, note: str) -> tuple[Entry, Path]:
    path = Path(out or f"{check_device(device)}.key")
    key = DeviceKey.generate()
    entry = Entry(device, key.public.hex(), not_after=not_after, note=note)
    key.save(path)
    return entry, path


def _of(admin: RingAdmin, device: str) -> list[Entry]:
    found = [e for e in admin.entries() if e.device == device]
    if not found:
        raise OptionError(f"device {device}: expected keys in the ring; found none; `edgerun keys new` makes one")
    return found


def _show(entries: Sequence[Entry], as_json: bool, more: dict[str, Any] | None = None) -> None:
    rows = [{**e.to_json(), "status": e.status(time.time()).removeprefix("key_")} for e in entries]
    if as_json:
        common.print_json({"schema": SCHEMA, **(more or {}), "keys": rows})
        return
    names = ["device", "id", "status", "not_before", "not_after", "public", "note"]
    names = [n for n in names if n in ("device", "id", "status", "public") or any(r[n] for r in rows)]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(row[n] or "")) for n in names))
    answers.print(table)
    for what, value in (more or {}).items():
        answers.print(f"{what}: {value}", markup=False)
