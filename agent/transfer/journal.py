"""The journal of one drive: what is on it, what is asked for, what became of it.

One SQLite file, one writer (the uploader). It is a cache: what is committed or staged can be asked
of the store, so losing the last moments, or all of it, costs time and no data.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import DriveBusy, MalformedInput, StateUnusable
from agent.model.codes import BlobStatus, ChunkStatus, Disposition, DispositionStatus, SideFileStatus
from agent.model.tally import Count, Tally
from agent.model.verification import Depth, Verdict, VerifiedCounts
from agent.transfer.items import Item, ItemState, Outcome, Piece
from agent.transfer.rows import (
    FINDINGS,
    FORMAT,
    INSERT_ITEM,
    INSERT_OUTCOME,
    ITEM_COLUMNS,
    OUTCOME_COLUMNS,
    SCHEMA,
    FoundFiles,
    Row,
    code_of,
    item_of,
    item_row,
    number,
    outcome_of,
    outcome_row,
    text_bytes,
    text_of,
)

PAGE_ROWS = 512
PAGE_PIECES = 20_000
"""Pieces to move and extents on the drive of a page's items together; the last item may go past it."""


@dataclass(frozen=True, slots=True)
class SideRow:
    """A metadata or properties file. ``fields`` is what it says, None unless it could be read."""

    id: int
    path: str
    md5: bytes
    kind: str
    status: SideFileStatus | None
    fields: Mapping[str, str] | None


class Journal:
    """Opened for one (job, serial, volume); any of them differing makes a new one."""

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        """Raises StateUnusable, and DriveBusy when another process has it open."""
        self._identity = dict(identity)
        self.is_of_changed_drive = False
        """Whether one was there of the same drive, which was written to since."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _lock(path)
            try:
                self._db = self._open(path)
            except BaseException:
                os.close(self._lock)
                raise
        except BlockingIOError:
            raise DriveBusy("another process of this station works on this drive") from None
        except (OSError, sqlite3.Error) as error:
            raise StateUnusable(f"the journal {path.name} cannot be opened: {error}") from error

    def _open(self, path: Path) -> sqlite3.Connection:
        wanted = {**self._identity, "schema": FORMAT}
        found, known = _reopen(path, wanted)
        if found is not None:
            return found
        is_other = known.get("state") != wanted.get("state")
        self.is_of_changed_drive = is_other and all(
            known.get(key) == value for key, value in wanted.items() if key != "state"
        )
        for leftover in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
            leftover.unlink(missing_ok=True)
        db = _connect(path)
        db.executescript(SCHEMA)
        with db:
            db.executemany("INSERT INTO meta VALUES (?, ?)", wanted.items())
        return db

    def set_aside(self) -> None:
        """A damaged journal makes way: the next one is rebuilt from the drive and the store."""
        self._path.replace(self._path.with_name(self._path.name + ".damaged"))

    def close(self) -> None:
        """Once."""
        self._db.close()
        os.close(self._lock)

    @property
    def is_complete(self) -> bool:
        """Whether the inventory was finished: then a resumed transfer need not list the drive again."""
        return self._meta("inventory") == "complete"

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def begin_inventory(self) -> None:
        """Forget an inventory that was cut short.

        Until ``finish_inventory`` nothing waits for the disk: what a power loss takes is listed again.
        """
        self._db.execute("PRAGMA synchronous = NORMAL")
        with self._db:
            for table in ("side", "item", "outcome", "piece"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - the names stand above

    def finish_inventory(self) -> None:
        """Settle blobs that two files would fight for, then mark the inventory complete, durably."""
        self._db.execute("PRAGMA synchronous = FULL")
        twice = self._db.execute("SELECT 1 FROM item GROUP BY blob HAVING count(*) > 1 LIMIT 1").fetchone()
        with self._db:
            if twice is not None:
                self._settle_rivals()
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('inventory', 'complete')")

    def _settle_rivals(self) -> None:
        """Of several files for one blob the first goes there."""
        self._db.execute("CREATE INDEX rival ON item (blob)")
        self._settle_pending(
            ItemState.FAILED,
            BlobStatus.FAILED,
            "another file of this drive goes to the same blob",
            f"""disposition != {number(Disposition.RENAME)} AND EXISTS (
                SELECT 1 FROM item AS other WHERE other.blob = item.blob AND other.seq < item.seq)""",  # noqa: S608
        )
        self._db.execute("DROP INDEX rival")

    def add(self, items: Iterable[tuple[Item, Outcome | None]]) -> None:
        """Items with their outcome, if it is known already. One transaction."""
        found = list(items)
        with self._db:
            self._db.executemany(INSERT_ITEM, (item_row(item) for item, _ in found))
            self._db.executemany(
                "INSERT INTO piece VALUES (?,?,?,?,?,?)",
                ((item.seq, *piece) for item, _ in found for piece in item.pieces or ()),
            )
            self._db.executemany(
                INSERT_OUTCOME, (outcome_row(known) for _, known in found if known is not None)
            )

    def add_files(self, files: FoundFiles, disposition: Disposition) -> None:
        """As ``add``, of many ordinary files at once, none of which has an outcome."""
        with self._db:
            self._db.executemany(INSERT_ITEM, files.rows(disposition))

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Outcomes of items. One transaction, durable when it returns."""
        with self._db:
            self._db.executemany(INSERT_OUTCOME, map(outcome_row, outcomes))

    def close_pending(self, state: ItemState, status: BlobStatus, note: str) -> None:
        """Whatever has no outcome yet gets this one."""
        with self._db:
            self._settle_pending(state, status, note, "1")

    def _settle_pending(self, state: ItemState, status: BlobStatus, note: str, which: str) -> None:
        self._db.execute(
            f"""INSERT INTO outcome (seq, state, blob_status, disposition_status, final_blob, note)
                SELECT seq, ?, ?, ?, blob, ? FROM item
                WHERE NOT EXISTS (SELECT 1 FROM outcome WHERE outcome.seq = item.seq) AND {which}""",  # noqa: S608
            (number(state), number(status), number(DispositionStatus.CANCELLED), note),
        )

    def pending(self, after: tuple[int, int] = (-1, -1), *, overwriting: bool | None = None) -> list[Item]:
        """The next items without an outcome, in the order in which they lie on the drive.

        ``after`` is (first_offset, seq) of the last one seen. ``overwriting`` chooses by whether the
        disposition is overwrite; None takes all.
        """
        kinds = (False, True) if overwriting is None else (overwriting,)
        rows = [row for kind in kinds for row in self._pending_rows(after, overwriting=kind)]
        if len(kinds) > 1:
            rows = sorted(rows, key=_way)[:PAGE_ROWS]
        return [item for item, _ in self._bounded(rows)]

    def _pending_rows(self, after: tuple[int, int], *, overwriting: bool) -> list[Row]:
        return self._db.execute(
            f"""SELECT {ITEM_COLUMNS} FROM item INDEXED BY item_way
                WHERE overwrites = ? AND (first_offset, seq) > (?, ?)
                AND NOT EXISTS (SELECT 1 FROM outcome WHERE outcome.seq = item.seq)
                ORDER BY first_offset, seq LIMIT {PAGE_ROWS}""",  # noqa: S608 - constants
            (overwriting, *after),
        ).fetchall()

    def _bounded(self, rows: Iterable[Row]) -> Iterator[tuple[Item, Row]]:
        """Items of a page, which ends early where they have many pieces or lie in many."""
        pieces = 0
        with _as_written():
            for row in rows:
                item = item_of(row, self._pieces(row[0]) if row[_LISTED] else None)
                yield item, row
                pieces += len(item.pieces or ()) + (len(item.stream.extents) if item.stream else 0)
                if pieces > PAGE_PIECES:
                    return

    def outcomes(self, *, findings: bool = False) -> Iterator[tuple[Item, Outcome]]:
        """Everything that has an outcome, in the order of the manifest or of the volume.

        ``findings``: without what was made under its own name and verified as asked.
        """
        which = FINDINGS if findings else "1"
        seq, found = -1, True
        while found:
            found = False
            rows = self._db.execute(
                f"""SELECT {ITEM_COLUMNS}, {OUTCOME_COLUMNS}
                    FROM outcome CROSS JOIN item ON item.seq = outcome.seq
                    WHERE outcome.seq > ? AND {which}
                    ORDER BY outcome.seq LIMIT {PAGE_ROWS}""",  # noqa: S608 - constants
                (seq,),
            )
            with _as_written():
                for item, row in list(self._bounded(rows)):
                    yield item, outcome_of(row, item)
                    seq, found = item.seq, True

    def _pieces(self, seq: int) -> tuple[Piece, ...]:
        rows = self._db.execute(
            "SELECT ordinal, offset, length, id, md5 FROM piece WHERE seq = ? ORDER BY ordinal", (seq,)
        )
        return tuple(map(Piece._make, rows))

    def tally(self) -> Tally:
        """The books, counted afresh."""
        found = self._db.execute(
            """SELECT state, count(*), sum(length) FROM outcome CROSS JOIN item ON item.seq = outcome.seq
               GROUP BY state"""
        )
        with _as_written():
            counts = {code_of(ItemState, state): Count(files, size) for state, files, size in found}
        discovered = self._db.execute("SELECT count(*), ifnull(sum(length), 0) FROM item").fetchone()
        return Tally(
            discovered=Count(*discovered),
            done=counts.get(ItemState.DONE, Count()),
            failed=counts.get(ItemState.FAILED, Count()),
            skipped=counts.get(ItemState.SKIPPED, Count()),
        )

    def unread(self, after: int = -1) -> list[Item]:
        """The next items that failed because bytes of theirs could not be read; ``after`` is a ``seq``."""
        rows = self._db.execute(
            f"""SELECT {ITEM_COLUMNS} FROM outcome CROSS JOIN item ON item.seq = outcome.seq
               WHERE outcome.seq > ? AND state = ? AND (blob_status = ? OR pieces LIKE ?)
               ORDER BY outcome.seq LIMIT {PAGE_ROWS}""",  # noqa: S608 - constants
            (after, number(ItemState.FAILED), number(BlobStatus.IO_FAILED), f'%"{ChunkStatus.IO_FAILED}"%'),
        )
        return [item for item, _ in self._bounded(rows)]

    def has_any(self, status: DispositionStatus) -> bool:
        """Whether the disposition of some blob ended so."""
        row = self._db.execute(
            "SELECT 1 FROM outcome WHERE disposition_status = ? LIMIT 1", (number(status),)
        )
        return row.fetchone() is not None

    @property
    def has_any_unlisted(self) -> bool:
        """Whether of some item no manifest tells the blocks."""
        return self._db.execute("SELECT 1 FROM item WHERE NOT listed LIMIT 1").fetchone() is not None

    def verified(self) -> VerifiedCounts:
        """Files by what their verification found, counted afresh."""
        counts: dict[str, int] = {}
        for depth, verdict, files in self._db.execute(
            """SELECT depth, verdict, count(*) FROM outcome WHERE verdict IS NOT NULL
               GROUP BY depth, verdict"""
        ):
            found = code_of(Verdict, verdict)
            key = str(code_of(Depth, depth) if found is Verdict.MATCH else found)
            counts[key] = counts.get(key, 0) + files
        return VerifiedCounts(**counts)

    def side_id(self, path: str, md5: bytes, kind: str) -> int:
        """The number of a side file, new or known."""
        with self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO side (path, md5, kind) VALUES (?, ?, ?)", (text_bytes(path), md5, kind)
            )
        row = self._db.execute(
            "SELECT id FROM side WHERE path = ? AND md5 = ? AND kind = ?", (text_bytes(path), md5, kind)
        ).fetchone()
        return int(row[0])

    def side(self, number: int) -> SideRow:
        """A side file by its number."""
        row = self._db.execute(
            "SELECT id, path, md5, kind, status, fields FROM side WHERE id = ?", (number,)
        ).fetchone()
        return _side(row)

    def unread_sides(self) -> list[SideRow]:
        """The next side files that have not been looked at."""
        rows = self._db.execute(
            f"""SELECT id, path, md5, kind, status, fields FROM side
                WHERE status IS NULL ORDER BY id LIMIT {PAGE_ROWS}"""  # noqa: S608 - a constant
        )
        return [_side(row) for row in rows]

    def record_side(self, number: int, status: SideFileStatus, fields: Mapping[str, str] | None) -> None:
        """What a side file says, or why it could not be read."""
        with self._db:
            self._db.execute(
                "UPDATE side SET status = ?, fields = ? WHERE id = ?",
                (status, json.dumps(dict(fields)) if fields is not None else None, number),
            )


_LISTED, _FIRST_OFFSET = 5, 7
"""Where they stand in ``ITEM_COLUMNS``."""


def _way(row: Row) -> tuple[int, int]:
    return row[_FIRST_OFFSET], row[0]


class JournalDamaged(sqlite3.DatabaseError):
    """A row is not as it was written."""


@contextmanager
def _as_written() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, LookupError, MalformedInput) as error:
        raise JournalDamaged(f"a row of it cannot be read ({type(error).__name__})") from None


def is_damage(error: Exception) -> bool:
    """Whether an error of the database, or of Python's reading it, says that it is not as it was written."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # So come texts that are none, also those that its complaint of a bad schema quotes.
        return isinstance(error, JournalDamaged | sqlite3.OperationalError | UnicodeDecodeError)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def _lock(path: Path) -> int:
    """A descriptor whose lock ends with this process, however that ends."""
    fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _reopen(path: Path, wanted: Mapping[str, str]) -> tuple[sqlite3.Connection | None, dict[str, str]]:
    """The journal that is there, if it is one, of this drive, and whole; and what it says of itself."""
    if not path.exists():
        return None, {}
    db: sqlite3.Connection | None = None
    try:
        db = _connect(path)
        known = dict(db.execute("SELECT key, value FROM meta"))
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if db is not None:
            db.close()
        if is_damage(error):
            return None, {}
        raise
    # An inventory that was cut short is made anew: let it give its room back at once.
    if all(known.get(key) == value for key, value in {**wanted, "inventory": "complete"}.items()):
        return db, known
    db.close()
    return None, known


def _connect(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    db = sqlite3.connect(path, check_same_thread=False, timeout=10)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    return db


def _side(row: tuple[int, bytes, bytes, str, str | None, str | None]) -> SideRow:
    number, path, md5, kind, status, fields = row
    return SideRow(
        number,
        text_of(path),
        md5,
        kind,
        SideFileStatus(status) if status else None,
        json.loads(fields) if fields else None,
    )
