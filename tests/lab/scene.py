"""A scene of the laboratory: a station with drives at its bays, an account, and what is asked of them.

Jobs are filed and looked at by the agent's own command line in the guest; what happened is read in the
guest's journal; what was sent is read off the relay, and what is stored off Azurite, both on the host.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, ParamSpec
from urllib.parse import unquote

from tests.lab.bay import Bay
from tests.lab.machine import Machine
from tests.lab.scene_drives import Cargo
from tests.lab.scene_journal import WARNING, Line, Reading
from tests.lab.scene_station import CONNECTIONS
from tests.lab.scene_store import Store

P = ParamSpec("P")

LOGS: Final = "waimportexport"
SLOW: Final = 1_500_000
"""Bytes a second of a drive that is to be interrupted: half a minute for a long one."""
WITHOUT_ACTS: Final = "LAB_WITHOUT_ACTS"
"""Set in the environment: what each scene is about does not happen, and each has to fail."""
KEEP_JOURNALS: Final = "LAB_JOURNALS"
"""In the environment: a folder in which the journal of each scene is kept."""
WITHIN_S: Final = 300.0
WITHIN_WITHOUT_ACTS_S: Final = 30.0
SLOW_TO_ANSWER: Final = "DriveNotAnswering"
LOOK_EVERY_S: Final = 1.0
AS_SERVICE: Final = "runuser -u drive-ingest -- ingest-agent"


def are_acts_left_out() -> bool:
    """Whether this run is to show that each scene can fail."""
    return bool(os.environ.get(WITHOUT_ACTS))


class Scene:
    """What a scenario does and asks, in the words of a technician."""

    def __init__(self, machine: Machine, store: Store, name: str) -> None:
        """``name`` is that of its job, and of the container that its blobs go to."""
        self.machine, self.store, self.name = machine, store, name
        self._reading = Reading()
        self._within_s = WITHIN_S

    def act(self, deed: Callable[P, object], *arguments: P.args, **named: P.kwargs) -> None:
        """Do what the scene is about: without this deed it has to fail, and a run shows that it does."""
        if are_acts_left_out():
            self._within_s = WITHIN_WITHOUT_ACTS_S
        else:
            deed(*arguments, **named)

    # Jobs.

    def agent(self, *arguments: str, stdin: bytes = b"") -> str:
        """The agent's command line, as the service's user."""
        command = " ".join(map(shlex.quote, arguments))
        given = base64.b64encode(stdin).decode("ascii")
        return self.machine.sh(f"base64 -d <<< '{given}' | {AS_SERVICE} {command}", timeout_s=WITHIN_S)

    def file(self, bay: Bay, key: bytes, *more: str, name: str | None = None) -> None:
        """A job for the drive of a bay, into a container of the job's own name."""
        job = name or self.name
        arguments = ("--drive", bay.serial, "--key-file", "-", "--to", job, *more)
        self.agent("job", "create", job, *arguments, stdin=key)

    def job(self, name: str | None = None) -> dict[str, Any]:
        """Its properties, as the job API shows them."""
        shown: dict[str, Any] = json.loads(self.agent("job", "show", name or self.name, "--json"))
        properties: dict[str, Any] = shown["properties"]
        return properties

    def history(self, bay: Bay) -> list[str]:
        """What happened to the drive, oldest first."""
        told = json.loads(self.agent("drive", "history", bay.serial, "--json"))["value"]
        return [str(event["what"]) for event in told]

    # The journal.

    def lines(self, event: str, **fields: str) -> list[Line]:
        """The agent's lines so far that tell of this event, but for that a drive takes its time to answer.

        The station says so of one that did not answer to smartctl in 3 s, which takes as long as that on an
        emulated processor.
        """
        self._read()
        return [line for line in self._reading.lines if line.is_one(event, fields) and not _is_slow(line)]

    def wait(self, event: str, **fields: str) -> Line:
        """The first such line, once it is there."""
        self.until(lambda: bool(self.lines(event, **fields)), f"{event} {fields}")
        return self.lines(event, **fields)[0]

    def news(self, bay: Bay) -> list[Line]:
        """Warnings and worse that tell of the drive of a bay, as ``lines`` does."""
        self._read()
        ours = [line for line in self._reading.lines if line.fields.get("drive") == bay.serial]
        return [line for line in ours if line.priority <= WARNING and not _is_slow(line)]

    def until(self, is_reached: Callable[[], bool], what: str) -> None:
        """Look once a second."""
        deadline = time.monotonic() + self._within_s
        while not is_reached():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {self._within_s:.0f} s: {what}\n{self.told()}")
            time.sleep(LOOK_EVERY_S)

    def told(self) -> str:
        """The whole journal of the service."""
        return "\n".join(map(str, self._reading.lines))

    def _read(self) -> None:
        self._reading.take(self.machine.sh(self._reading.command()))

    def keep_journal(self) -> None:
        """Where KEEP_JOURNALS says so."""
        folder = os.environ.get(KEEP_JOURNALS)
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{self.name}.log").write_text(self.told() + "\n")

    # Power.

    def cut_power(self) -> None:
        """All of a sudden; then the station boots."""
        self._read()
        self.machine.reset()
        self._reading.begin_boot()

    # What came of it.

    def wait_for_blocks(self, count: int) -> None:
        """Until so many blocks or small blobs are in the store: the drive is well under way."""
        self.store.relay.wait_for_stored(self.name, count, self._within_s)

    def finished(self, bay: Bay, status: str = "Completed", name: str | None = None) -> Line:
        """The line that ends the drive's life; it ended as it should."""
        line = self.wait("drive.finished", drive=bay.serial, job=name or self.name)
        assert line.fields["status"] == status, f"{line}\n{self.told()}"
        return line

    def check_completed(self, bay: Bay, cargo: Cargo, name: str | None = None) -> None:
        """Every blob is its file byte for byte, none is too many, and job and drive say so."""
        self.check_blobs(cargo, name=name)
        job = self.job(name)
        (drive,) = (each for each in job["driveList"] if each["driveId"] == bay.serial)
        assert (drive["state"], drive["copyStatus"], drive["percentComplete"]) == (
            "Completed",
            "Completed",
            100,
        )
        tally = drive["tally"]
        assert tally["done"] == {"files": len(cargo.files), "bytes": cargo.size_bytes}, tally
        assert tally["failed"]["files"] == 0, tally
        assert self.machine.is_unchanged(bay.number)

    def check_blobs(self, cargo: Cargo, *, lost: Collection[str] = (), name: str | None = None) -> None:
        """``lost``: files of which there must be no blob."""
        expected = {path: digest for path, digest in cargo.files.items() if path not in lost}
        stored = self.store.digests(name or self.name)
        # Names that the service would not bear are written with percents, so that they can be read back.
        found = {unquote(path): digest for path, digest in stored.items()}
        wrong = differences(expected, found)
        assert not wrong, f"{len(wrong)} of {len(expected)}: {wrong[:20]}"

    def log(self, kind: str) -> str:
        """The drive's ``error`` log, ``mapfile``, ...: the only one of its kind that the account has."""
        names = self.store.names(LOGS, f"waies/{self.name}_")
        (name,) = (each for each in names if f"_{kind}." in each)
        return self.store.text(LOGS, name)

    def check_sent_once(self) -> None:
        """What was in the store already was not sent again; what was under way may have been."""
        times = Counter((one.blob, one.block_id) for one in self.store.stored(self.name))
        again = {what: count for what, count in times.items() if count > 1}
        assert sum(count - 1 for count in again.values()) <= CONNECTIONS, again

    def kernel(self, pattern: str) -> str:
        """Lines of the guest's kernel that match, for a message."""
        return self.machine.try_sh(f"dmesg | grep -E {shlex.quote(pattern)} | tail -n 20")[1]


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """In words, what the store has otherwise than it should."""
    told = [f"{path} is missing" for path in sorted(expected.keys() - found.keys())]
    told += [f"{path} is too many" for path in sorted(found.keys() - expected.keys())]
    both = expected.keys() & found.keys()
    return told + [f"{path} has other bytes" for path in sorted(both) if expected[path] != found[path]]


def _is_slow(line: Line) -> bool:
    return line.fields.get("error") == SLOW_TO_ANSWER
