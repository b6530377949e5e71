"""An MQTT broker and how to reach it; used by what publishes telemetry (`edgerun.device`) and by what collects it (`edgerun.serve`).

The client is Eclipse paho's, MQTT 5: only there a PUBACK says that nobody subscribed (0x10), which is to say that the message is lost.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from edgerun.errors import OptionError

if TYPE_CHECKING:
    from paho.mqtt.client import Client

PACKET_MOST = 256 * 1024
"""Bytes of a packet that is taken from a broker. The protocol allows 256 MiB, which a broker that was taken over could make us hold."""
RECONNECT_S = (1, 30)
"""Least and most seconds between two attempts to connect."""


@dataclass(frozen=True)
class Broker:
    """Where the broker is. tls: verify it by `ca` (a file; None: the system's); cert and key: files, for mutual TLS."""

    host: str
    port: int = 1883
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    username: str | None = None
    password: str | None = None
    keepalive_s: int = 30

    @classmethod
    def parse(cls, text: str, **files: Any) -> Broker:
        """HOST, HOST:PORT, mqtt://USER:PASSWORD@HOST:PORT or mqtts://… (TLS, port 8883). files: ca, cert, key. OptionError."""
        parts = urlsplit(text if "://" in text else f"mqtt://{text}")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == -1 or parts.path not in ("", "/"):
            raise OptionError(f"broker: expected HOST:PORT, mqtt://HOST:PORT or mqtts://HOST:PORT; found {text!r}")
        tls = parts.scheme == "mqtts" or any(files.values())
        return cls(parts.hostname, port or (8883 if tls else 1883), tls, username=parts.username and unquote(parts.username),
                   password=parts.password and unquote(parts.password), **files)

    def __str__(self) -> str:
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"

    def client(self, client_id: str, *, keep_session: bool = False, window: int = 64) -> Client:
        """A client that has started to connect, and connects again for ever; `client.loop_start()` runs it, in its own thread.

        keep_session: the broker keeps what arrives while we are away, for a day, and nothing is acknowledged but by `client.ack`.
        window: messages that may wait for an acknowledgement, in either direction. OptionError: no paho, certificates that cannot be used.
        """
        try:
            from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTTv5
            from paho.mqtt.packettypes import PacketTypes
            from paho.mqtt.properties import Properties
        except ImportError as e:
            raise OptionError("MQTT: expected the package paho-mqtt; found none; pip install 'edgerun[device]'") from e
        made = _bounded()(client_id, keep_session)
        if self.tls:
            try:
                context = ssl.create_default_context(cafile=self.ca)
                if self.cert:
                    context.load_cert_chain(self.cert, self.key)
            except (OSError, ssl.SSLError) as e:
                raise OptionError(f"{self}: expected certificates that can be read (ca {self.ca}, cert {self.cert}); found: {e}") from e
            made.tls_set_context(context)
        if self.username is not None:
            made.username_pw_set(self.username, self.password)
        said = Properties(PacketTypes.CONNECT)
        said.MaximumPacketSize = PACKET_MOST
        said.ReceiveMaximum = window
        made.max_inflight_messages = window
        if keep_session:
            said.SessionExpiryInterval = 24 * 3600
        made.reconnect_delay_set(*RECONNECT_S)
        assert made.protocol == MQTTv5
        made.connect_async(self.host, self.port, self.keepalive_s, properties=said,
                           clean_start=False if keep_session else MQTT_CLEAN_START_FIRST_ONLY)
        return made


def _bounded() -> Callable[[str, bool], Client]:
    from paho.mqtt import client as paho

    class Bounded(paho.Client):  # type: ignore[misc]
        """paho's client asks its socket for as many bytes as the broker announced: the place to refuse."""

        def _sock_recv(self, bufsize: int) -> bytes:
            if bufsize > PACKET_MOST:
                raise ConnectionError(f"the broker announced a packet of {bufsize} bytes; at most {PACKET_MOST} are taken")
            return super()._sock_recv(bufsize)

    return lambda name, manual: Bounded(paho.CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5, manual_ack=manual)
