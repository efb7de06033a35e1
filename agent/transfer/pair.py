"""Starts the two processes of a drive and listens to them.

Descriptors are inherited, secrets travel through them, and nothing secret stands in argv or in the
environment. The children are in a session of their own: a Ctrl-C at the terminal reaches only the
station, which then tells them what to do.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.errors import StateUnusable, WorkerLost
from agent.model.secrets import Secret
from agent.transfer.endings import ending
from agent.transfer.orders import UploadOrder
from agent.transfer.reader_order import ReaderOrder
from agent.transfer.ring import Ring

STOP_TIMEOUT_S = 60.0
KILLED_WITHIN_S = LAST_WORDS_S = 5.0
TAIL_BYTES = 8192
LAST_EVENTS = frozenset({"finished", "paused", "interrupted"})
_KEPT_ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")
_READER_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""No thread runs before the reader's walls go up, and its address space is what it uses."""
_UPLOADER_ENVIRONMENT = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")

_IDENTITY_ENVIRONMENT = (
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_TENANT_ID",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "MSI_SECRET",
)
"""By these the platform tells its identities; they are handed on only to who comes by one."""


class Pair:
    """A running reader and uploader."""

    def __init__(self, reader: Process, uploader: Process) -> None:
        self._reader, self._uploader = reader, uploader
        self._tails = [asyncio.create_task(_tail(process)) for process in (reader, uploader)]
        self._is_given_up = False

    @classmethod
    async def start(cls, device_fd: int, reader: ReaderOrder, upload: UploadOrder) -> Pair:
        """Start both. The caller keeps and closes ``device_fd``.

        Raises StateUnusable when there is no room for the reader's scratch file, or for one more process.
        """
        with ExitStack() as held:
            scratch = _held(held, _scratch(upload.journal.parent))
            try:
                return await cls._started(held, device_fd, scratch, reader, upload)
            except OSError as error:
                raise StateUnusable(f"no worker can be started: {error.strerror}") from None

    @classmethod
    async def _started(
        cls, held: ExitStack, device_fd: int, scratch: int, reader: ReaderOrder, upload: UploadOrder
    ) -> Pair:
        ring = held.enter_context(closing(Ring.create(upload.slot_count)))
        ours, theirs = map(held.enter_context, socket.socketpair())
        order = _held(held, _order(reader))
        reading = await _spawn(
            "agent.transfer.reader",
            [device_fd, ring.fd, theirs.fileno(), order, scratch],
            _environment(_KEPT_ENVIRONMENT) | _READER_ENVIRONMENT,
            stdin=DEVNULL,
            stdout=DEVNULL,
        )
        sending = await _spawn(
            "agent.transfer.uploader",
            [ring.fd, ours.fileno()],
            _environment(_KEPT_ENVIRONMENT + _UPLOADER_ENVIRONMENT + _of_identity(upload))
            | {"SQLITE_TMPDIR": str(upload.journal.parent)},
            stdin=PIPE,
            stdout=PIPE,
        )
        assert sending.stdin is not None
        upload = replace(upload, reader_pid=reading.pid)
        sending.stdin.write(json.dumps(upload.to_json()).encode("ascii") + b"\n")
        return cls(reading, sending)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the uploader tells, up to its last event.

        One that did not end after a stop was interrupted. Raises WorkerLost when it ends without one.
        """
        assert self._uploader.stdout is not None
        while line := await self._uploader.stdout.readline():
            event: dict[str, Any] = json.loads(line)
            yield event
            if event["event"] in LAST_EVENTS:
                return
        if self._is_given_up:
            yield {"event": "interrupted"}
            return
        code = await self._uploader.wait()
        tail = await self._tails[1]
        raise WorkerLost(f"the uploader process ended: {ending(code, tail) or 'it said nothing'}")

    async def reader_said(self) -> str:
        """How the reader ended and the last line that it wrote to standard error; empty while it runs."""
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                last_line = await asyncio.shield(self._tails[0])
                return ending(await self._reader.wait(), last_line)
        except TimeoutError:
            return ""

    def tell(self, word: str) -> None:
        """Pass a command on: ``stop`` or ``cancel``. Who does not end after a stop is ended by force."""
        if word == "stop":
            asyncio.get_running_loop().call_later(STOP_TIMEOUT_S, self._give_up)
        assert self._uploader.stdin is not None
        with suppress(ConnectionError):
            self._uploader.stdin.write(word.encode("ascii") + b"\n")

    def hand_over(self, credential: Secret | None) -> None:
        """Another credential for the store, from now on; None: there is no other."""
        text = json.dumps(credential.reveal() if credential is not None else None)
        assert self._uploader.stdin is not None
        with suppress(ConnectionError):
            self._uploader.stdin.write(f"credential {text}\n".encode("ascii"))

    async def close(self) -> None:
        """Wait for both to end; end them by force when they do not. Idempotent.

        One that hangs in the kernel ends when that lets go of it; nobody waits for it.
        """
        assert self._uploader.stdin is not None
        self._uploader.stdin.close()
        for process in (self._uploader, self._reader):
            if not await _has_ended(process, STOP_TIMEOUT_S):
                process.kill()
                await _has_ended(process, KILLED_WITHIN_S)
        for tail in self._tails:
            tail.cancel()
        await asyncio.gather(*self._tails, return_exceptions=True)

    def _give_up(self) -> None:
        self._is_given_up = True
        self.kill()

    def kill(self) -> None:
        """End both at once; the place is kept by the journal and the store."""
        for process in (self._uploader, self._reader):
            with suppress(ProcessLookupError):
                process.kill()


async def _spawn(
    module: str, fds: list[int], environment: Mapping[str, str], *, stdin: int, stdout: int
) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *map(str, fds),
        stdin=stdin,
        stdout=stdout,
        stderr=PIPE,
        pass_fds=fds,
        env=environment,
        start_new_session=True,
        limit=1 << 20,
    )


async def _has_ended(process: Process, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await process.wait()
    except TimeoutError:
        return False
    return True


def _held(held: ExitStack, fd: int) -> int:
    held.callback(os.close, fd)
    return fd


def _order(reader: ReaderOrder) -> int:
    """In memory, and not in a pipe: that would hold up whoever fills it until the reader takes it."""
    fd = os.memfd_create("reader-order", os.MFD_CLOEXEC)
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(json.dumps(reader.to_json()).encode("ascii"))
        file.seek(0)
    return fd


def _scratch(folder: Path) -> int:
    """A file without a name: it goes with the reader that spills into it, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.dup(file.fileno())
    except OSError as error:
        raise StateUnusable(f"no scratch file can be made in {folder}: {error.strerror}") from None


def _of_identity(upload: UploadOrder) -> tuple[str, ...]:
    return _IDENTITY_ENVIRONMENT if upload.store.identity is not None else ()


def _environment(names: tuple[str, ...]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ} | {"PYTHONUNBUFFERED": "1"}


async def _tail(process: Process) -> str:
    """The last line that a process wrote to standard error, read to the end so that it never blocks."""
    assert process.stderr is not None
    kept = b""
    while data := await process.stderr.read(TAIL_BYTES):
        kept = (kept + data)[-TAIL_BYTES:]
    lines = kept.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
