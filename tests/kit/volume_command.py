"""``ingest-agent volume`` in a process of its own, on sound drives and on others."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures import Password, RecoveryPassword, StartupKey, make_disk
from fixtures.disk import MadeDisk

CHECKOUT = Path(__file__).parents[2]
SHARED = CHECKOUT / "../shared/images"
BITLOCKER = SHARED / "bitlk-images.conf"
needs_bitlocker = pytest.mark.skipif(
    not BITLOCKER.is_file(), reason="no real BitLocker volumes beside the checkout"
)
WAIT_S = 120
PASSWORD = "correct horse, Grüße 𝄞"

PLAIN_RUN = "from agent.cli.main import main; main()"
COMMAND = (sys.executable, "-c", PLAIN_RUN, "volume")
HEAD = '"$@" | head -c 100; exit ${PIPESTATUS[0]}'
FAULTY_RUN = """
import agent.cli.volume_source as source
from agent.errors import UnreadableSectors
from agent.volume.block import FdSource
class Faulty(FdSource):
    def read_into(self, offset, buffer):
        end = offset + len(buffer)
        bad = [start for start, length in {bad} if start < end and offset < start + length]
        if bad:
            # As the system has it: what comes before is read, and of the rest nothing is known.
            first = max(min(bad), offset)
            raise UnreadableSectors(first, end - first, "Input/output error")
        super().read_into(offset, buffer)
source.drive_source = Faulty
from agent.cli.main import main; main()
"""
GONE_RUN = """
import agent.cli.volume_source as source
from agent.errors import UnreadableSectors
from agent.volume.block import FdSource
class Pulled(FdSource):
    left = {reads}
    def read_into(self, offset, buffer):
        self.left -= 1
        if self.left < 0:
            raise UnreadableSectors(offset, len(buffer), "no such device")
        super().read_into(offset, buffer)
source.drive_source = Pulled
from agent.cli.main import main; main()
"""
SLOW_RUN = """
import time
import agent.cli.volume_source as source
from agent.volume.block import FdSource
class Slow(FdSource):
    def read_into(self, offset, buffer):
        time.sleep(0.2)
        super().read_into(offset, buffer)
source.drive_source = Slow
from agent.cli.main import main; main()
"""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: bytes
    said: str

    @property
    def text(self) -> str:
        return self.out.decode("utf-8")

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> str:
        (line,) = [line for line in self.said.splitlines() if line.startswith("error: ")]
        return line


def volume(*arguments: object, stdin: bytes = b"", run: str = PLAIN_RUN, **more: Any) -> Done:
    """``ingest-agent volume ARGUMENTS``, or a run of it with a drive of its own."""
    done = subprocess.run(
        [sys.executable, "-c", run, "volume", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=WAIT_S,
        **{"cwd": CHECKOUT, **more},
    )
    said = done.stderr.decode()
    assert "Traceback" not in said
    assert "bug of ingest-agent" not in said
    return Done(done.returncode, done.stdout, said)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hashed(done: Done) -> dict[str, tuple[str, int]]:
    """Path to SHA-256 and size, of lines that have one."""
    return {line["path"]: (line["sha256"], line["size"]) for line in done.lines if "sha256" in line}


def demo_drive(folder: Path) -> MadeDisk:
    """A BitLocker drive in a GPT, opened by a recovery password, a password or a startup key."""
    protectors = (RecoveryPassword(), Password(PASSWORD), StartupKey())
    return make_disk(folder / "demo.img", protectors=protectors, used_space_only=True)


def bad_run(*ranges: tuple[int, int]) -> str:
    """A run whose drive cannot read these ranges (start, length)."""
    return FAULTY_RUN.format(bad=ranges)
