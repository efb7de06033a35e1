"""Asks a drive about itself, by smartctl; one that does not answer in time is left out."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from contextlib import suppress
from typing import Final

from agent.devices.health import Health, read_health, unknown

ANSWER_WITHIN_S: Final = 20.0
GONE_WITHIN_S: Final = 1.0
MAX_REPORT_BYTES: Final = 1024 * 1024
PLACES: Final = "/usr/sbin:/sbin:/usr/local/sbin"
"""Where it is when the user's path does not lead there."""


class Smartctl:
    """The program of smartmontools, 7.0 or newer, run once a question."""

    def __init__(self, command: str = "smartctl", within_s: float = ANSWER_WITHIN_S) -> None:
        self._command, self._within_s = command, within_s

    async def ask(self, node: str) -> Health:
        """A snapshot of the drive at this device node. Never raises: silence is an unknown health."""
        program = find(self._command)
        if program is None:
            return unknown(f"{self._command} is not installed")
        try:
            async with asyncio.timeout(self._within_s):
                report = await _run(program, node)
        except TimeoutError:
            return unknown(f"no answer within {self._within_s:g} s")
        except OSError as error:
            return unknown(f"{self._command} cannot be run: {error.strerror}")
        try:
            told = json.loads(report)
        except (ValueError, RecursionError):
            told = None
        return read_health(told) if isinstance(told, dict) else unknown(f"{self._command} told nothing")


def find(command: str = "smartctl") -> str | None:
    """Where the program lies; None where it is not installed."""
    return shutil.which(command, path=f"{os.environ.get('PATH', os.defpath)}:{PLACES}")


class _Report(asyncio.SubprocessProtocol):
    """What the program wrote, until its end; one without end counts as nothing."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.is_whole = False
        self.gone = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MAX_REPORT_BYTES:
            self._chunks.append(data)
        else:
            self._end(b"")

    def pipe_connection_lost(self, fd: int, error: Exception | None) -> None:
        self.is_whole = True
        self._end(b"".join(self._chunks))

    def process_exited(self) -> None:
        self.gone.set()

    def _end(self, report: bytes) -> None:
        if not self.done.done():
            self.done.set_result(report)


async def _run(program: str, node: str) -> bytes:
    """Its exit status is not looked at: its bits repeat what the report says (smartctl(8), EXIT STATUS)."""
    transport, report = await asyncio.get_running_loop().subprocess_exec(
        _Report,
        program,
        "--json=c",
        "--info",
        "--health",
        "--attributes",
        node,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        # Nothing of the station's own environment, in which a platform may have put a secret.
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
    )
    try:
        return await report.done
    finally:
        if not report.is_whole:
            with suppress(ProcessLookupError):
                transport.kill()
        # One that hangs in the kernel ends when that lets go; nobody waits for it.
        with suppress(TimeoutError):
            async with asyncio.timeout(GONE_WITHIN_S):
                await report.gone.wait()
        transport.close()
