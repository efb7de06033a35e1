"""What a journal says, looked at from outside."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from agent.transfer.items import ItemState
from agent.transfer.rows import number, text_of


def done_blobs(path: Path, *, mode: str = "ro") -> set[str]:
    """Blobs that it has as done; none where it has no tables yet.

    ``rw`` where of its other files only the log is left: to read that is to write.
    """
    with closing(sqlite3.connect(f"file:{path}?mode={mode}", uri=True, timeout=10)) as db:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'outcome'").fetchone() is None:
            return set()
        rows = db.execute(
            """SELECT coalesce(outcome.final_blob, item.blob) FROM outcome JOIN item USING (seq)
               WHERE state = ?""",
            (number(ItemState.DONE),),
        )
        return {text_of(blob) for (blob,) in rows}
