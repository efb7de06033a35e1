"""A service that keeps nothing, within this process: so sending over TLS can be measured without a network.

It takes requests with a Content-Length over TLS on a port of this machine's own, drops their bodies and
answers 201. Its certificate is made for it, and lives as long as it does.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
MOST_HEAD_BYTES = 64 * 1024
WINDOW_BYTES = 1024 * 1024
_THREAD_CLOCK = 6
"""CPUCLOCK_SCHED of one thread (include/linux/posix-timers_types.h)."""
_ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Sink:
    """``certificate`` is a file in PEM, to be trusted by who sends."""

    port: int
    certificate: Path
    _threads: list[threading.Thread] = field(default_factory=list)

    def cpu_s(self) -> float:
        """Processor time that it took itself, which is not the sender's."""
        alive = 0.0
        for thread in self._threads:
            if thread.native_id is not None:
                with suppress(OSError):
                    alive += time.clock_gettime(~thread.native_id << 3 | _THREAD_CLOCK)
        return alive


@contextmanager
def sinking() -> Iterator[Sink]:
    """A sink until the end of the block."""
    with (
        tempfile.TemporaryDirectory(prefix="ingest-bench-") as folder,
        socket.create_server((HOST, 0)) as door,
    ):
        sink = Sink(door.getsockname()[1], Path(folder) / "certificate.pem")
        context = _context(sink.certificate)
        ended = threading.Event()
        accepting = threading.Thread(target=_accept, args=(door, context, sink, ended), daemon=True)
        accepting.start()
        try:
            yield sink
        finally:
            ended.set()
            with suppress(OSError):
                socket.create_connection((HOST, sink.port), 1.0).close()
            accepting.join()
            for thread in sink._threads:
                thread.join()


def _accept(door: socket.socket, context: ssl.SSLContext, sink: Sink, ended: threading.Event) -> None:
    while True:
        peer, _ = door.accept()
        if ended.is_set():
            peer.close()
            return
        thread = threading.Thread(target=_serve, args=(peer, context), daemon=True)
        thread.start()
        sink._threads.append(thread)


def _serve(peer: socket.socket, context: ssl.SSLContext) -> None:
    window = memoryview(bytearray(WINDOW_BYTES))
    with suppress(OSError, ValueError), context.wrap_socket(peer, server_side=True) as tls:
        while True:
            left = _body_bytes(tls)
            while left:
                got = tls.recv_into(window[: min(left, WINDOW_BYTES)])
                if not got:
                    return
                left -= got
            tls.sendall(_ANSWER)


def _body_bytes(tls: ssl.SSLSocket) -> int:
    """What is left to come of a request's body when its head was read. Raises ValueError at the end."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = tls.recv(MOST_HEAD_BYTES)
        if not piece or len(head) > MOST_HEAD_BYTES:
            raise ValueError
        head += piece
    lines, _, begun = head.partition(b"\r\n\r\n")
    named = next(line for line in lines.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(named.partition(b":")[2]) - len(begun)


def _context(file: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(_certificate(key).public_bytes(serialization.Encoding.PEM))
    key_file = file.with_name("key.pem")
    key_file.touch(mode=0o600)
    key_file.write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return context


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ingest-agent bench")])
    now, public = datetime.now(UTC), key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
