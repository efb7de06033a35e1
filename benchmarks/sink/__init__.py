"""Starts the null sink: a Blob service that keeps nothing, so that the client is what is measured.

Needs a C compiler and the headers of OpenSSL.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fixtures.certificates import Certificates

SOURCE = Path(__file__).parent / "null_sink.c"
ACCOUNT = "account"


class SinkMissing(Exception):
    """It cannot be compiled here; the message is one line."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the sink saw. ``span_s`` is from the head of the first write to the end of the last.

    ``blobs`` are those that were completed, with ``blob_bytes`` in all; requests and bodies are of
    block lists too. ``begun`` is the moment of the first, of the monotonic clock; 0 when there was none.
    """

    requests: int
    body_bytes: int
    span_s: float
    blobs: int
    blob_bytes: int
    begun: float


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink. ``pid`` is for those who count its processor time."""

    port: int
    is_tls: bool
    pid: int
    certificates: Certificates | None

    @property
    def endpoint(self) -> str:
        """Of a path-style account."""
        return f"{'https' if self.is_tls else 'http'}://127.0.0.1:{self.port}/{ACCOUNT}"

    def figures(self, watch: str = "") -> Figures:
        """Since it was asked last.

        With ``watch``, all blobs are forgotten, and from now on only writes into that container count.
        """
        context = (
            ssl.create_default_context(cafile=self.certificates.authority) if self.certificates else None
        )
        address = self.endpoint.removesuffix(f"/{ACCOUNT}") + "/-/figures"
        if watch:
            address += f"?/{ACCOUNT}/{watch}/"
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(address, timeout=10) as answer:
            requests, body_bytes, span_s, blobs, blob_bytes, begun = answer.read().split()
        return Figures(
            int(requests), int(body_bytes), float(span_s), int(blobs), int(blob_bytes), float(begun)
        )


@contextmanager
def running(certificates: Certificates | None = None) -> Iterator[Sink]:
    """A sink on a free loopback port, over TLS when it is given certificates. Raises SinkMissing."""
    files = [str(certificates.server), str(certificates.server_key)] if certificates else []
    process = subprocess.Popen(
        [str(_compiled()), *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        if not port:
            raise SinkMissing("the null sink ended at once")
        yield Sink(int(port), certificates is not None, process.pid, certificates)
    finally:
        # Its standard input is its leash.
        process.stdin.close()
        process.wait()
        process.stdout.close()


def _compiled() -> Path:
    """The program, compiled once for each text of its source."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SinkMissing("there is no C compiler for the null sink")
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    program = Path(tempfile.gettempdir()) / f"ingest-null-sink-{os.getuid()}-{digest}"
    if not program.exists():
        made = program.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            [compiler, "-O2", "-pthread", str(SOURCE), "-lssl", "-lcrypto", "-o", str(made)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SinkMissing(f"the null sink does not compile: {done.stderr.strip()[:200]}")
        made.rename(program)
    return program
