"""Memory stays flat with the number of files: what is known of them lies in the journal, on disk."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncGenerator
from pathlib import Path

from agent.formats.lognames import ReportKind
from agent.model.codes import BlobStatus, Disposition, DispositionStatus, DriveStatus
from agent.model.identity import ContainerName, JobName, SerialNumber
from agent.model.job import Destination
from agent.transfer import inventory
from agent.transfer.items import ItemState, Outcome
from agent.transfer.journal import Journal
from agent.transfer.listing import Batch, Listed
from agent.transfer.reports import Reporter
from agent.volume.ntfs import Entry, StreamKind, StreamRef

FEW, MANY = 1_000, 20_000
ALLOWED_GROWTH_BYTES = 1_500_000


class _Reader:
    """Lists as many files as are asked for, in batches as the real one."""

    def __init__(self, files: int) -> None:
        self._files = files

    async def scan(self) -> AsyncGenerator[Listed, None]:
        batch = Batch()
        for number in range(self._files):
            batch.add(self._entry(number))
            if batch.is_full or number == self._files - 1:
                yield Listed.of(json.loads(json.dumps(batch.message())))
                batch = Batch()

    @staticmethod
    def _entry(number: int) -> Entry:
        extents = ((number * 4096, 4096), *[(None, 4096)] * (number % 10 == 0))
        kind = StreamKind.SPARSE if len(extents) > 1 else StreamKind.PLAIN
        stream = StreamRef(number, 1, "", kind, 10, 10, 0, extents, None, number * 4096)
        path = (f"folder {number % 100}", f"file {number:08}.bin")
        return Entry(number, 1, path, False, 0x20, 1, 2, 3, 4, 1, False, (stream,), None, None)


async def _peak(files: int, folder: Path) -> int:
    """Bytes of Python objects at the worst moment of an inventory, a sweep and a log."""
    folder.mkdir()  # noqa: ASYNC240
    journal = Journal(folder / "journal.sqlite", {"job": "job"})
    reporter = Reporter(
        JobName("job"), SerialNumber.parse("S1"), ContainerName("logs"), folder / "logs", 4 << 20
    )
    tracemalloc.start()
    try:
        await inventory.of_volume(
            _Reader(files),  # type: ignore[arg-type]
            journal,
            Destination.parse("box"),
            Disposition.NO_OVERWRITE,
            lambda found: None,
            upload_streams=False,
        )
        after, moved = (-1, -1), 0
        while page := journal.pending(after):
            journal.record(
                Outcome(item.seq, ItemState.DONE, BlobStatus.COMPLETED, DispositionStatus.CREATED, item.blob)
                for item in page
            )
            assert page[-1].stream is not None
            after, moved = (page[-1].stream.first_offset, page[-1].seq), moved + len(page)
        assert moved == files
        assert journal.tally().done.files == files
        reporter.log(ReportKind.VERBOSE, journal, DriveStatus.COMPLETED)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        journal.close()


async def test_twenty_times_the_files_take_no_more_memory(tmp_path: Path) -> None:
    few = await _peak(FEW, tmp_path / "few")
    many = await _peak(MANY, tmp_path / "many")
    assert many - few < ALLOWED_GROWTH_BYTES
