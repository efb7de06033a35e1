"""Runs of the agent on one or more drives against the null sink, and what they took."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.drives_figures import Haul, Memory
from benchmarks.drives_images import Drive
from benchmarks.processes import Child, Member, PartyFailed, processor_seconds, together
from benchmarks.sink import Figures, running
from benchmarks.transfer_own import CONTAINER, Station, station
from benchmarks.volume_images import PASSWORD

_ON_ONE_CORE = "import os, sys; os.sched_setaffinity(0, {core}); os.execv(sys.argv[1], sys.argv[1:])"


def cores() -> int:
    """Processors that we may use."""
    return len(os.sched_getaffinity(0))


def haul(work: Path, drives: Sequence[Drive], start_cpu_s: float = 0.0, *, is_pinned: bool = False) -> Haul:
    """All drives at once, a command each, at one station. ``start_cpu_s`` is not counted.

    Raises PartyFailed when a command fails or the sink did not get every byte.
    """
    with ExitStack() as stack:
        sink = stack.enter_context(running())
        made = stack.enter_context(station(sink.endpoint, state=work))
        serials = [_filed(made, number) for number in range(len(drives))]
        sink.figures(CONTAINER)
        before = processor_seconds(sink.pid)
        children = [
            stack.enter_context(_child(made, drive, serial, is_pinned=is_pinned))
            for drive, serial in zip(drives, serials, strict=True)
        ]
        cpu_s = sum(child.cost().cpu_s for child in children)
        spent = processor_seconds(sink.pid) - before
        seen = _checked(sink.figures(), drives)
    return Haul(seen.blob_bytes, seen.span_s, max(0.0, cpu_s - start_cpu_s), spent)


def memory(work: Path, drive: Drive) -> Memory:
    """One whole run. Raises PartyFailed as ``haul``."""
    with running() as sink, station(sink.endpoint, state=work) as made:
        serial = _filed(made, 0)
        sink.figures(CONTAINER)
        with _child(made, drive, serial) as child:
            members = child.cost().members
            assert child.ended is not None
            wall_s = child.ended - child.begun
        seen = _checked(sink.figures(), [drive])
    reader, uploader = (_worker(members, name) for name in ("reader", "uploader"))
    return Memory(
        about=drive.about,
        files=drive.files,
        pair=together([reader, uploader]),
        reader=reader.peak_bytes,
        uploader=uploader.peak_bytes,
        ring=max(reader.shared_bytes, uploader.shared_bytes),
        station=max(each.peak_bytes for each in members if "agent.transfer." not in each.command),
        wall_s=wall_s,
        files_s=seen.blobs / seen.span_s,
    )


def _filed(made: Station, number: int) -> str:
    key = made.folder / "password"
    key.write_text(PASSWORD, "utf-8")
    serial = f"DRIVE-{number}"
    made.file_job(f"drive-{number}", serial, key, to=f"{CONTAINER}/{number}/")
    return serial


def _child(made: Station, drive: Drive, serial: str, *, is_pinned: bool = False) -> Child:
    command = made.command("replay", drive.path, "--serial", serial)
    if is_pinned:
        core = min(os.sched_getaffinity(0))
        command = [sys.executable, "-c", _ON_ONE_CORE.format(core={core}), *command]
    folder = Path(__file__).parents[1]
    return Child(f"ingest-agent on {drive.about}", command, folder=folder, environment=made.environment)


def _checked(seen: Figures, drives: Sequence[Drive]) -> Figures:
    wanted = sum(drive.files for drive in drives), sum(drive.file_bytes for drive in drives)
    if (seen.blobs, seen.blob_bytes) != wanted:
        raise PartyFailed(
            f"the sink got {seen.blobs} blobs of {seen.blob_bytes} bytes, the drives have {wanted}"
        )
    return seen


def _worker(members: Iterable[Member], name: str) -> Member:
    """The process of that name. What it forks has its name for a moment, and its memory, and is left out."""
    found = [member for member in members if f"agent.transfer.{name}" in member.command]
    if not found:
        raise PartyFailed(f"no {name} was seen")
    return max(found, key=lambda member: member.cpu_s)
