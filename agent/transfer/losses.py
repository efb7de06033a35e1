"""Which files bad sectors cost, and which bytes of them."""

from __future__ import annotations

import asyncio
import json

from agent.transfer.journal import Journal
from agent.transfer.link import ReaderLink

MAX_LINES = 10_000
"""Files told one by one; a drive that lost more is to be imaged anyway."""

REFS_PER_MESSAGE = 16


async def lost_files(link: ReaderLink, journal: Journal) -> tuple[int, list[str]]:
    """How many files could not be read, and an ASCII line for each of the first MAX_LINES."""
    count, lines, after = 0, list[str](), -1
    while page := await asyncio.to_thread(journal.unread, after):
        after = page[-1].seq
        count += len(page)
        for start in range(0, len(page) if len(lines) < MAX_LINES else 0, REFS_PER_MESSAGE):
            batch = [item for item in page[start : start + REFS_PER_MESSAGE] if item.stream is not None]
            told = await link.losses([item.stream for item in batch if item.stream is not None])
            lines += [
                # A name may hold anything, and the line must stay one.
                f"{json.dumps(item.file_path)}: {lost or 'see the error log'}"
                for item, lost in zip(batch, told, strict=True)
            ]
    return count, lines
