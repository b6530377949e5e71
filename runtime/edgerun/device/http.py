"""The protocol over HTTP/1.1, by urllib3: connections are kept and shared by threads; the only package that this needs."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edgerun.device.message import BadAnswer, Reply, Tensor, from_http, read_json, to_http
from edgerun.device.transport import ANSWER_MOST, NEVER, SAME, Address, Tls, Trouble, refused
from edgerun.errors import OptionError

_LENGTH = "Inference-Header-Content-Length"
_CHUNK = 1 << 16


class Http:
    """connections: kept open at most; each thread that waits for an answer has one."""

    method = "POST"

    def __init__(self, address: Address, model: str, version: str = "", tls: Tls | None = None, *, connections: int = 16,
                 answer_most: int = ANSWER_MOST) -> None:
        try:
            import urllib3
        except ImportError as e:
            raise OptionError("HTTP: expected the package urllib3; found none; pip install 'edgerun[device]'") from e
        self.target = f"/v2/models/{model}{f'/versions/{version}' if version else ''}/infer"
        self._errors = urllib3.exceptions
        self._most = answer_most
        kind: Any = urllib3.HTTPSConnectionPool if address.tls else urllib3.HTTPConnectionPool
        options = {"ssl_context": _context(tls or Tls())} if address.tls else {}
        self._pool = kind(address.host, address.port, maxsize=connections, block=False, retries=False, **options)
        self._timeout = urllib3.Timeout

    def encode(self, work: str, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> tuple[bytes, Mapping[str, str]]:
        body, length = to_http(work, tensors, parameters)
        return body, {"Content-Type": "application/octet-stream", _LENGTH: str(length)}

    def send(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> tuple[Reply, Mapping[str, str]]:
        end = time.monotonic() + timeout_s
        errors = self._errors
        try:
            found = self._pool.urlopen("POST", self.target, body=body, headers=dict(headers), redirect=False, retries=False,
                                       preload_content=False, decode_content=False, timeout=self._timeout(total=timeout_s))
            try:
                text = self._read(found, end)
                found.release_conn()
            except BaseException:
                found.close()
                raise
        except errors.SSLError as e:
            raise Trouble("tls", NEVER, str(e)) from e
        except errors.NewConnectionError as e:  # which is a TimeoutError, too, of urllib3's
            raise Trouble("unreachable", SAME, str(e)) from e
        except (errors.TimeoutError, TimeoutError) as e:
            raise Trouble("timeout", SAME, f"none within {timeout_s:.3g} s") from e
        except (errors.HTTPError, OSError) as e:
            raise Trouble("unreachable", SAME, str(e)) from e
        told = {k.lower(): v for k, v in found.headers.items()}
        if found.status == 200:
            return from_http(text, _number(told.get(_LENGTH.lower()))), told
        page = read_json(text) or {}
        reason, after = page.get("reason"), _number(told.get("retry-after")) or 0
        if isinstance(reason, str) and reason.isidentifier():
            raise refused(reason, str(page.get("error", "")), after)
        if found.status >= 500:  # of something in between: the server itself gives a reason
            raise Trouble(f"refused:http_{found.status}", SAME, "", after)
        raise Trouble(f"refused:http_{found.status}", NEVER)

    def _read(self, found: Any, end: float) -> bytes:
        """Not more than allowed, and not longer: a timeout of the socket begins anew with every byte."""
        chunks, size = [], 0
        while chunk := found.read(_CHUNK):
            size += len(chunk)
            if size > self._most:
                raise BadAnswer(f"more than {self._most} bytes")
            if time.monotonic() > end:
                raise TimeoutError
            chunks.append(chunk)
        return b"".join(chunks)

    def close(self) -> None:
        self._pool.close()


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as e:
        raise OptionError(f"TLS: expected certificates that can be read (ca {tls.ca}, cert {tls.cert}, key {tls.key}); found: {e}") from e
    return context


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 10 else None
