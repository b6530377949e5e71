"""The page at / of a server: HTML, style and scripts as they lie here, nothing built, nothing from elsewhere. docs/monitoring.md.

It polls /edgerun/v1/status and draws. What comes from the wire reaches the document as text only; the policy below forbids scripts and
styles from anywhere else, inline ones, and (require-trusted-types-for) any turning of text into markup."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

PREFIX = "/edgerun/page/"
_FILES = {"/": "index.html"} | {PREFIX + name: name for name in ("page.css", "page.js", "charts.js", "panels.js", "format.js")}
_MEDIA = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
                               "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin", "cache-control": "no-cache",
}
"""To be sent with every file of the page."""
PATHS = tuple(_FILES)
"""What `asset` answers."""


@dataclass(frozen=True)
class Asset:
    """A file of the page. media: its content type; etag: strong, of the content."""

    body: bytes
    media: str
    etag: str

    @property
    def headers(self) -> dict[str, str]:
        """All that go with it."""
        return {**HEADERS, "content-type": self.media, "etag": self.etag}


@cache
def asset(path: str) -> Asset | None:
    """The file at a path of the server (PATHS); None for any other path."""
    name = _FILES.get(path)
    if name is None:
        return None
    body = files(__package__).joinpath(name).read_bytes()
    return Asset(body, _MEDIA[name.rpartition(".")[2]], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


__all__ = ["HEADERS", "PATHS", "PREFIX", "Asset", "asset"]
