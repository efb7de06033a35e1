"""The running account of a transfer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.model.codes import BlobStatus, BlobType, Disposition, DispositionStatus
from agent.model.tally import Count
from agent.transfer.books import MAX_UNWRITTEN, Books
from agent.transfer.items import Item, ItemState, Outcome
from agent.transfer.journal import Journal

DEADLINE_S = 20.0


def _item(seq: int) -> Item:
    return Item(seq, f"\\{seq}", f"box/{seq}", BlobType.BLOCK, 10, Disposition.NO_OVERWRITE, None)


@pytest.mark.parametrize("turns", range(6))
def test_keeping_ends_when_it_is_cancelled_just_as_there_is_something_to_write(
    tmp_path: Path, turns: int
) -> None:
    async def run() -> None:
        journal = Journal(tmp_path / "journal.sqlite", {"job": "job"})
        journal.add([(_item(seq), None) for seq in range(MAX_UNWRITTEN)])
        books = Books(journal, lambda tally, percent: None)
        await books.load()
        keeper = asyncio.create_task(books.keep())
        # Until it waits.
        for _ in range(10):
            await asyncio.sleep(0)
        for seq in range(MAX_UNWRITTEN):
            status = BlobStatus.COMPLETED, DispositionStatus.CREATED
            books.settle(_item(seq), Outcome(seq, ItemState.DONE, *status, f"box/{seq}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        keeper.cancel()
        ended, _ = await asyncio.wait([keeper], timeout=DEADLINE_S)
        if not ended:
            keeper.cancel()
        assert ended
        await books.flush()
        assert journal.tally().done == Count(MAX_UNWRITTEN, 10 * MAX_UNWRITTEN)
        journal.close()

    asyncio.run(run())
