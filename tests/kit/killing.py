"""Starts the real command, and ends its processes without warning."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
KINDS = ("uploader", "reader", "station", "all")
BUSY_PAUSE_S = 0.2
DEADLINE_S = 300.0
_POLL_S = 0.004


def command(*arguments: str) -> list[str]:
    """The agent's command line."""
    program = "import sys; from agent.cli.main import main; sys.exit(main())"
    return [sys.executable, "-c", program, *arguments]


def start(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    """The command, running."""
    return subprocess.Popen(
        command(*arguments),
        env={**os.environ, **environment, "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """The command to its end; while another process has the drive it is tried again."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        process = start(environment, *arguments)
        said = process.communicate(timeout=DEADLINE_S)[1]
        if "another process of this station works on this drive" not in said or time.monotonic() > deadline:
            return process.returncode, said
        time.sleep(BUSY_PAUSE_S)


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> bool:
    """Whether that came before the end of the process."""
    deadline = time.monotonic() + DEADLINE_S
    while not reached():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def kill(station: subprocess.Popen[str], kind: str) -> list[str]:
    """``kill -9`` of the uploader, the reader, the station or all; the kinds of those that were there."""
    workers = workers_of(station.pid)
    chosen = {"station": station.pid, **workers} if kind == "all" else {kind: workers.get(kind, 0)}
    if kind == "station":
        chosen = {"station": station.pid}
    killed = []
    for name, pid in chosen.items():
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGKILL)
                killed.append(name)
    return killed


def workers_of(station: int) -> dict[str, int]:
    """The reader and the uploader that a station has started, by the names of their modules."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError, ValueError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if parent == station and words[2].startswith(b"agent.transfer."):
                    found[words[2].decode().rpartition(".")[2]] = int(folder.name)
    return found
