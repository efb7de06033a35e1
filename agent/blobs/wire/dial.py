"""The way to a service: directly or by a proxy, in the clear or over TLS."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from agent.blobs.wire.answer import Incoming
from agent.blobs.wire.connection import Connection
from agent.blobs.wire.trouble import BadAnswer, NoAnswer, WireTrouble, why
from agent.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; ``authorization`` is a header line for it, or empty."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str) -> Proxy:
        """``http://[USER:PASSWORD@]HOST[:PORT]``. Raises ConfigInvalid, without showing it."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port or 80
        except ValueError:
            raise ConfigInvalid("the proxy of the environment is not a URL") from None
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigInvalid("the proxy of the environment must be http://HOST:PORT")
        authorization = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            authorization = f"Proxy-Authorization: Basic {base64.b64encode(pair).decode('ascii')}\r\n"
        return cls(parts.hostname, port, authorization)


@dataclass(frozen=True, slots=True)
class Route:
    """``tls`` is None for http://. Names are those of the service; a proxy may stand before it."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    proxy: Proxy | None = None

    @classmethod
    def to(cls, endpoint: str, tls: ssl.SSLContext) -> Route:
        """To the host of a URL, by what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say. Raises ConfigInvalid."""
        parts = urlsplit(endpoint)
        host, is_tls = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        return cls(host, port, tls if is_tls else None, _proxy(parts.scheme, f"{host}:{port}"))

    @property
    def authority(self) -> str:
        """``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_relayed(self) -> bool:
        """Requests themselves go to the proxy, in absolute form; over TLS it is only a tunnel."""
        return self.proxy is not None and self.tls is None


def _proxy(scheme: str, authority: str) -> Proxy | None:
    if f"{scheme}_proxy" not in map(str.lower, os.environ):
        return None
    # Here, for it brings a client of HTTP and a reader of mail along.
    from urllib.request import getproxies, proxy_bypass

    url = getproxies().get(scheme)
    return Proxy.of(url) if url and not proxy_bypass(authority) else None


def tls_context() -> ssl.SSLContext:
    """Certificates are checked against the system's CAs, or those of SSL_CERT_FILE and SSL_CERT_DIR.

    Raises ConfigInvalid when SSL_CERT_FILE cannot be read.
    """
    context = ssl.create_default_context()
    file = os.environ.get("SSL_CERT_FILE")
    if file:
        # OpenSSL passes over a file that it cannot read, and then no certificate is trusted.
        try:
            context.load_verify_locations(cafile=file)
        except OSError:
            raise ConfigInvalid(f"SSL_CERT_FILE {file} holds no certificates that can be read") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def dial(route: Route, timeout_s: float) -> Connection:
    """A connection to the service. Raises NoAnswer and BadAnswer."""
    return Connection(connected(route, timeout_s))


def connected(route: Route, timeout_s: float) -> socket.socket:
    """A socket to the service that blocks without timeout. Raises as ``dial``."""
    deadline = time.monotonic() + timeout_s
    try:
        sock = _connected(route, deadline)
    except ssl.SSLError as trouble:
        raise NoAnswer(why(trouble)) from None
    except OSError as trouble:
        at = f"proxy {route.proxy.host}:{route.proxy.port}: " if route.proxy else ""
        raise NoAnswer(at + why(trouble)) from None
    sock.settimeout(None)
    return sock


def _connected(route: Route, deadline: float) -> socket.socket:
    first = (route.proxy.host, route.proxy.port) if route.proxy else (route.host, route.port)
    sock = socket.create_connection(first, _left(deadline))
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if route.tls is None:
            return sock
        if route.proxy is not None:
            _tunnel(sock, route, route.proxy, deadline)
        sock.settimeout(_left(deadline))
        return route.tls.wrap_socket(sock, server_hostname=route.host)
    except BaseException:
        sock.close()
        raise


def _tunnel(sock: socket.socket, route: Route, proxy: Proxy, deadline: float) -> None:
    """Have the proxy lead to the service (CONNECT, RFC 9110 9.3.6)."""

    def receive(count: int) -> bytes:
        sock.settimeout(_left(deadline))
        return sock.recv(count)

    authority = route.authority
    head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{proxy.authorization}\r\n"
    sock.sendall(head.encode("ascii"))
    incoming = Incoming(receive)
    at = f"proxy {proxy.host}:{proxy.port}"
    try:
        answer = incoming.answer(has_body=False)
    except WireTrouble as trouble:
        raise NoAnswer(f"{at}: {trouble.why}") from None
    if answer.status != 200:
        raise NoAnswer(f"{at} answered {answer.status}")
    if not incoming.is_empty:
        raise BadAnswer(f"{at} speaks before the service")


def _left(deadline: float) -> float:
    """Seconds, and more than none: none would mean not to wait, and to fail otherwise."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
