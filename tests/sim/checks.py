"""What must be true of every run, and of the end of the last one. Each failure is a sentence."""

from __future__ import annotations

import io
import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from agent.formats.log_values import LogEntry
from agent.formats.logreader import read_log
from agent.model.blobs import BlobName
from tests.kit.journals import done_blobs
from tests.sim.drive import SimDrive, kind_of
from tests.sim.world import Run, World

T = TypeVar("T")

LOGS = "waimportexport"
PARTS = ("done", "failed", "skipped")
MAKING = frozenset({"put_blob", "put_block_list", "create_page_blob"})
SENDING = MAKING | {"put_block", "put_page"}


def every_point() -> bool:
    """Whether SIM_POINTS=all is in the environment."""
    return os.environ.get("SIM_POINTS", "") == "all"


def chosen(points: Sequence[T], count: int) -> Sequence[T]:
    """``count`` of the points, evenly spread; all of them when ``every_point``."""
    if every_point() or len(points) <= count:
        return points
    return [points[number * len(points) // count] for number in range(count)]


def told(wrong: Mapping[Any, Sequence[str]]) -> str:
    """For an assertion: how many points were wrong, and the first of them."""
    lines = [f"{point}: {'; '.join(found)}" for point, found in wrong.items() if found]
    return "\n".join([f"{len(lines)} points:", *lines[:10]]) if lines else ""


def wrong_at_the_end(sim: SimDrive, run: Run, undisturbed: Run) -> Iterator[str]:
    """What is wrong with a run that must have ended the transfer, as another did that nothing disturbed."""
    yield from wrong_on_the_way(sim, run)
    last, model = run.told.last, undisturbed.told.last
    if (last["event"], last.get("status")) != (model["event"], model["status"]):
        yield f"it ended with {last}"
        return
    if last["tally"] != model["tally"]:
        yield f"the books say {last['tally']}, not {model['tally']}"
    if _log(run) != _log(undisturbed):
        difference = _log(run) - _log(undisturbed)
        yield f"the verbose log has {dict(difference)} that an undisturbed run has not"
    yield from _wrong_blobs(sim, run.after)


def wrong_on_the_way(sim: SimDrive, run: Run) -> Iterator[str]:
    """What is wrong with any run, ended or broken off."""
    if run.errors:
        yield f"the event loop complained: {run.errors}"
    percents = [event["percent"] for event in run.told.named("progress")]
    if percents != sorted(percents) or any(percent > 99 for percent in percents):
        yield f"progress went {percents}"
    for event in run.told.events:
        if "tally" in event and (
            trouble := _unbalanced(event["tally"], is_last=event["event"] == "finished")
        ):
            yield trouble
    yield from wrong_in_the_store(sim, run.after)


def wrong_in_the_store(sim: SimDrive, world: World) -> Iterator[str]:
    """Blobs that are not what some file of the drive is, or was there before. Pages may be missing."""
    either = {name: group for group in sim.either for name in group}
    for name, content in world.store.committed().items():
        if str(name.container) == LOGS:
            continue
        allowed = {sim.expected.get(each) for each in either.get(name, [name])} | {sim.planted.get(name)}
        if name in sim.pages:
            if not _is_part(content, [each for each in allowed if each is not None]):
                yield f"{name} has pages that its file has not"
        elif content not in allowed:
            yield f"{name} has {len(content)} bytes that are no file's"


def _is_part(content: bytes, allowed: Sequence[bytes]) -> bool:
    pages = [content[at : at + 512] for at in range(0, len(content), 512)]
    blank = bytes(512)
    return any(
        len(each) == len(content)
        and all(page in (blank, each[n * 512 : n * 512 + 512]) for n, page in enumerate(pages))
        for each in allowed
    )


def _wrong_blobs(sim: SimDrive, world: World) -> Iterator[str]:
    found = {name: data for name, data in world.store.committed().items() if str(name.container) != LOGS}
    if missing := sim.expected.keys() - found.keys():
        yield f"missing: {', '.join(map(str, sorted(missing)))}"
    if more := found.keys() - sim.expected.keys():
        yield f"nobody asked for: {', '.join(map(str, sorted(more)))}"
    shared = {name for group in sim.either for name in group}
    for name in sim.expected.keys() & found.keys():
        if name not in shared and found[name] != sim.expected[name]:
            yield f"{name} is not what lies on the drive"
        if world.store.type_of(name) is not kind_of(sim, name):
            yield f"{name} is a {world.store.type_of(name)}"
    for group in sim.either:
        if Counter(found.get(name) for name in group) != Counter(sim.expected[name] for name in group):
            yield f"{', '.join(map(str, group))} are not the files of that name"


def _unbalanced(tally: dict[str, Sequence[int]], *, is_last: bool) -> str | None:
    for unit in (0, 1):
        accounted = sum(tally[part][unit] for part in PARTS)
        if accounted > tally["discovered"][unit] or (is_last and accounted != tally["discovered"][unit]):
            return f"the books do not balance: {tally}"
    return None


def _log(run: Run) -> Counter[tuple[str, str, str]]:
    """Files by blob, code and disposition; what was renamed may have got either name."""
    found: Counter[tuple[str, str, str]] = Counter()
    for entry in read_log(io.BytesIO(run.verbose_log)):
        if isinstance(entry, LogEntry):
            found[entry.target.replace(" (2)", ""), entry.code, str(entry.is_skipped)] += 1
    return found


def sent_again(sim: SimDrive, world: World, run: Run, *, is_journal_kept: bool) -> Iterator[str]:
    """Requests that carry what ``world`` had already: by its journal, or staged, or committed of blocks."""
    done = _done(world) if is_journal_kept else set()
    # Another file of the same name tries it too before it is renamed.
    done -= {str(name) for group in sim.either for name in group}
    staged = world.store.staged()
    for call in run.calls:
        if call.operation in SENDING and call.subject in done:
            yield f"{call.operation} of {call.subject}, which the journal has as done"
        if call.operation == "put_block" and (call.subject, call.block_id) in staged:
            yield f"block {call.block_id} of {call.subject} was staged already"
    committed = {str(name) for name in world.store.committed()} - {str(name) for name in _foreign(world)}
    for call in run.calls:
        if call.operation == "put_block" and call.subject in committed:
            yield f"a block of {call.subject}, which was committed already"


def _foreign(world: World) -> set[BlobName]:
    return {
        name for name, content in world.store.committed().items() if content.startswith(b"somebody else's")
    }


def checkpointed(world: World) -> bytes:
    """The journal of a world as one file."""
    with _journal(world) as path:
        db = sqlite3.connect(path)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        return path.read_bytes()


@contextmanager
def _journal(world: World) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in world.journal.items():
            (Path(folder) / name).write_bytes(data)
        yield Path(folder) / "journal.sqlite"


def _done(world: World) -> set[str]:
    """Blobs that the journal of a world has as done."""
    if not world.journal:
        return set()
    with _journal(world) as path:
        return done_blobs(path, mode="rw")
