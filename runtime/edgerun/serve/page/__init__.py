"""The page at / of a server: HTML, style and scripts as they lie here, nothing built, nothing from elsewhere. docs/monitoring.md.

It polls /edgerun/v1/status and draws. What comes from the wire reaches the document as text only; the policy below forbids scripts and
styles from anywhere else, inline ones, and (require-trusted-types-for) any turning of text into markup."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

PREFIX = "/edgerun/page/"
_FILES = {"/": "index.html"} | {
    PREFIX + name: name for name in ("page.css", "page.js", "charts.js", "panels.js", "reports.js", "format.js")}
_MEDIA = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
                               "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "referrer-policy": "no-referrer", "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
}
"""To be sent with every file of the page, besides what the server sends with all that it says (nosniff, no-store)."""
PATHS = tuple(_FILES)
"""What `asset` answers."""


@dataclass(frozen=True)
class Asset:
    """A file of the page. media: its content type."""

    body: bytes
    media: str


@cache
def asset(path: str) -> Asset:
    """The file at one of PATHS."""
    name = _FILES[path]
    return Asset(files(__package__).joinpath(name).read_bytes(), _MEDIA[name.rpartition(".")[2]])


__all__ = ["HEADERS", "PATHS", "PREFIX", "Asset", "asset"]
