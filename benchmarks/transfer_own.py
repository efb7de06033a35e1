"""Our own command against a sink: a job is filed, and ``ingest-agent replay`` works an image of its drive.

What is measured is the whole command: process starts, unlocking, the listing, catalog, journal and logs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import Child, Cost, PartyFailed

SERIAL = "BENCH-1"
JOB = "bench"
CONTAINER = "bench"
# Not a secret: the sink takes anything.
SAS = (
    "sv=2024-11-04&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00:00:00Z"
    "&sig=bm90LWEtc2VjcmV0LWF0LWFsbC1hbmQtMzItYnl0ZXM%3D"
)
JOB_DEADLINE_S, RUN_DEADLINE_S = 120, 600
_COMMAND = (sys.executable, "-c", "from agent.cli.main import main; main()")
_CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Station:
    """A station of its own in ``folder``, whose store is ``endpoint``.

    ``authority`` is the certificate that signs the store's, if that speaks TLS.
    """

    folder: Path
    endpoint: str
    credential: str = SAS
    authority: Path | None = None
    settings: str = ""

    def prepare(self) -> None:
        """Write its settings and the file of its credential. ``settings`` is more TOML, e.g. [transfer]."""
        self.folder.mkdir(parents=True, exist_ok=True)
        key = self.folder / "store-key"
        key.touch(0o600)
        key.write_text(self.credential)
        self._file.write_text(
            f"state_dir = {json.dumps(str(self.folder / 'state'))}\n"
            f'[store]\nkind = "azure"\naddress = {json.dumps(self.endpoint)}\n'
            f"credential_file = {json.dumps(str(key))}\n{self.settings}\n",
            "utf-8",
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """As a person's, without settings of another station; bytecode is kept, as a package has it."""
        known = {name: value for name, value in os.environ.items() if not name.startswith("INGEST_AGENT_")}
        known.pop("PYTHONDONTWRITEBYTECODE", None)
        trusted = {"SSL_CERT_FILE": str(self.authority)} if self.authority else {}
        return known | trusted | {"NO_PROXY": "127.0.0.1"}

    def command(self, *arguments: str | Path) -> list[str]:
        """``ingest-agent`` with these settings."""
        return [*_COMMAND, "--config", str(self._file), *map(str, arguments)]

    def file_job(self, name: str, serial: str, key: Path | None, *options: str, to: str = CONTAINER) -> None:
        """``job create``; ``key`` opens the drive, None says that it is not encrypted. Raises PartyFailed."""
        opened = ("--key-file", key) if key is not None else ("--allow-unencrypted",)
        self._run("job", "create", name, "--drive", serial, *opened, "--to", to, *options)

    def drive(self, name: str) -> dict[str, Any]:
        """The first drive of a job, as ``job show --json`` tells it. Raises PartyFailed."""
        shown = json.loads(self._run("job", "show", name, "--json"))
        drive: dict[str, Any] = shown["properties"]["driveList"][0]
        return drive

    def replay(self, image: Path, serial: str = SERIAL) -> Child:
        """The command, started, for use as a context manager."""
        return Child(
            "ingest-agent",
            self.command("replay", image, "--serial", serial),
            folder=_CHECKOUT,
            environment=self.environment,
            deadline_s=RUN_DEADLINE_S,
        )

    def _run(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            self.command(*arguments),
            env=dict(self.environment),
            cwd=_CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
            timeout=JOB_DEADLINE_S,
        )
        if done.returncode:
            raise PartyFailed(
                f"ingest-agent {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    @property
    def _file(self) -> Path:
        return self.folder / "agent.toml"


@contextmanager
def station(
    endpoint: str,
    *,
    authority: Path | None = None,
    credential: str = SAS,
    settings: str = "",
    state: Path | None = None,
) -> Iterator[Station]:
    """A new one, whose state is kept in a folder of its own below ``state`` and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="ingest-bench-", dir=state) as folder:
        made = Station(Path(folder), endpoint, credential, authority, settings)
        made.prepare()
        yield made


@dataclass(frozen=True, slots=True)
class OwnRun:
    """One whole command, and what became of the drive."""

    wall_s: float
    cost: Cost
    drive: Mapping[str, Any]


def run_own(
    image: Path,
    key: Path | None,
    endpoint: str,
    *,
    options: Sequence[str] = (),
    authority: Path | None = None,
    credential: str = SAS,
    settings: str = "",
    state: Path | None = None,
) -> OwnRun:
    """File a job for the drive ``image`` at a new station and run it. Raises PartyFailed.

    ``key`` is None for a volume without BitLocker; ``options`` are more of ``job create``. Filing the job
    is not measured, as a technician has done it before the drive comes.
    """
    with station(
        endpoint, authority=authority, credential=credential, settings=settings, state=state
    ) as made:
        made.file_job(JOB, SERIAL, key, *options)
        with made.replay(image) as child:
            cost = child.cost()
            assert child.ended is not None
            return OwnRun(child.ended - child.begun, cost, made.drive(JOB))
