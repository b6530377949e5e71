"""Where a server may listen, and TLS for HTTP. Secure by default: who may speak is known by certificate or key, or is on this machine."""

from __future__ import annotations

import ipaddress
import socket
import ssl

from edgerun.errors import OptionError
from edgerun.serve.settings import TlsFiles


def check_trust(host: str, tls: TlsFiles | None, has_gate: bool, insecure: bool) -> None:
    """OptionError for a server that would serve anybody: without client certificates, keys, or `insecure` on a loopback address."""
    if insecure:
        if not is_loopback(host):
            raise OptionError(f"insecure: expected a loopback address (127.0.0.1, ::1, localhost); found {host!r}: leave --insecure out, "
                              "and give --tls-cert, --tls-key and --client-ca, or keys of the devices")
        return
    if not has_gate and (tls is None or tls.client_ca is None):
        raise OptionError("expected to know who may speak: --tls-cert, --tls-key and --client-ca (client certificates), or --keys (of the "
                          "devices); found neither; docs/security.md has an example; for a trial on this machine only: --insecure")


def is_loopback(host: str) -> bool:
    """Whether every address of the name is one of this machine only."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)} if host else set()
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(a.partition("%")[0]).is_loopback for a in found)


def server_context(tls: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or later; with client_ca a certificate of that authority is required of everybody. OptionError for files that are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as e:
        raise OptionError(f"TLS: expected a certificate chain and its key as PEM in {tls.cert} and {tls.key}; found: {e}") from e
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except (OSError, ssl.SSLError) as e:
            raise OptionError(f"TLS: expected certificates of authorities as PEM in {tls.client_ca}; found: {e}") from e
        context.verify_mode = ssl.CERT_REQUIRED
    return context
