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
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from agent.errors import DriveBusy, StateUnusable
from agent.model.codes import (
    BlobStatus,
    BlobType,
    ChunkStatus,
    Disposition,
    DispositionStatus,
    SideFileStatus,
)
from agent.model.tally import Count, Tally
from agent.model.verification import Depth, Verdict, Verified, VerifiedCounts
from agent.transfer.items import FileFacts, Item, ItemState, Outcome, Piece, SideFiles
from agent.volume.ntfs import StreamRef

SCHEMA_VERSION = 2
PAGE_ROWS = 200
PAGE_PIECES = 20_000
"""Pieces to move and extents on the drive of a page's items together; the last item may go past it."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE side (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL, md5 BLOB NOT NULL, kind TEXT NOT NULL,
    status TEXT, fields TEXT, UNIQUE (path, md5, kind)
);
CREATE TABLE item (
    seq INTEGER PRIMARY KEY, file_path BLOB NOT NULL, blob BLOB NOT NULL, type TEXT NOT NULL,
    length INTEGER NOT NULL, disposition TEXT NOT NULL, stream TEXT, first_offset INTEGER NOT NULL,
    modified INTEGER NOT NULL, changed INTEGER NOT NULL, created INTEGER NOT NULL,
    attributes INTEGER NOT NULL, side TEXT NOT NULL, listed INTEGER NOT NULL,
    state TEXT NOT NULL, blob_status TEXT, disposition_status TEXT, final_blob BLOB, note TEXT,
    pieces TEXT, metadata_status TEXT, properties_status TEXT,
    depth TEXT, verdict TEXT, crc64 BLOB, content_md5 BLOB, sha256 BLOB
);
CREATE TABLE piece (
    seq INTEGER NOT NULL, ordinal INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    id TEXT, md5 BLOB, PRIMARY KEY (seq, ordinal)
) WITHOUT ROWID;
CREATE INDEX item_way ON item (state, first_offset, seq);
CREATE INDEX item_blob ON item (blob);
"""


@dataclass(frozen=True, slots=True)
class SideRow:
    """A metadata or properties file. ``fields`` is what it says, None unless it could be read."""

    id: int
    path: str
    md5: bytes
    kind: str
    status: SideFileStatus | None
    fields: Mapping[str, str] | None


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _from_text(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")


class Journal:
    """Opened for one (job, serial, volume); any of them differing makes a new one."""

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        """Raises StateUnusable, and DriveBusy when another process has it open."""
        self._identity = dict(identity)
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _lock(path)
            self._db = self._open(path)
        except BlockingIOError:
            raise DriveBusy("another process of this station works on this drive") from None
        except (OSError, sqlite3.Error) as error:
            raise StateUnusable(f"the journal {path.name} cannot be opened: {error}") from error

    def _open(self, path: Path) -> sqlite3.Connection:
        wanted = {**self._identity, "schema": str(SCHEMA_VERSION)}
        found = _reopen(path, wanted)
        if found is not None:
            return found
        for leftover in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
            leftover.unlink(missing_ok=True)
        db = _connect(path)
        db.executescript(_SCHEMA)
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
        """Forget an inventory that was cut short."""
        with self._db:
            for table in ("side", "item", "piece"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - the names stand above

    def finish_inventory(self) -> None:
        """Settle blobs that two files would fight for, then mark the inventory complete."""
        with self._db:
            self._db.execute(
                """UPDATE item SET state = ?, blob_status = ?, disposition_status = ?, final_blob = blob,
                       note = 'another file of this drive goes to the same blob'
                   WHERE state = ? AND disposition != ? AND EXISTS (
                       SELECT 1 FROM item AS other WHERE other.blob = item.blob AND other.seq < item.seq)""",
                (
                    ItemState.FAILED,
                    BlobStatus.FAILED,
                    DispositionStatus.CANCELLED,
                    ItemState.PENDING,
                    Disposition.RENAME,
                ),
            )
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('inventory', 'complete')")

    def add(self, items: Iterable[tuple[Item, Outcome | None]]) -> None:
        """Items with their outcome, if it is known already. One transaction."""
        found = list(items)
        with self._db:
            self._db.executemany(_INSERT_ITEM, (_item_columns(item) for item, _ in found))
            self._db.executemany(
                "INSERT INTO piece VALUES (?,?,?,?,?,?)",
                (
                    (item.seq, p.ordinal, p.offset, p.length, p.id, p.md5)
                    for item, _ in found
                    for p in item.pieces or ()
                ),
            )
            self._db.executemany(
                _SETTLE, (_outcome_columns(known) for _, known in found if known is not None)
            )

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Outcomes of items. One transaction, durable when it returns."""
        with self._db:
            self._db.executemany(_SETTLE, map(_outcome_columns, outcomes))

    def close_pending(self, state: ItemState, status: BlobStatus, note: str) -> None:
        """Whatever has no outcome yet gets this one."""
        with self._db:
            self._db.execute(
                """UPDATE item SET state=?, blob_status=?, disposition_status=?, final_blob=blob, note=?
                   WHERE state=?""",
                (state, status, DispositionStatus.CANCELLED, note, ItemState.PENDING),
            )

    def pending(self, after: tuple[int, int] = (-1, -1), *, overwriting: bool | None = None) -> list[Item]:
        """The next items without an outcome, in the order in which they lie on the drive.

        ``after`` is (first_offset, seq) of the last one seen. ``overwriting`` chooses by whether the
        disposition is overwrite; None takes all.
        """
        kinds = {None: (0, 1), True: (1, 1), False: (0, 0)}[overwriting]
        rows = self._db.execute(
            f"""SELECT {_ITEM} FROM item WHERE state = ? AND (first_offset, seq) > (?, ?)
                AND (disposition = ?) IN (?, ?)
                ORDER BY first_offset, seq LIMIT {PAGE_ROWS}""",  # noqa: S608 - constants
            (ItemState.PENDING, *after, Disposition.OVERWRITE, *kinds),
        )
        return [item for item, _ in self._bounded(rows)]

    def _bounded(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Item, tuple[Any, ...]]]:
        """Items of a page, which ends early where they have many pieces or lie in many."""
        pieces = 0
        for row in rows:
            item = self._item(row)
            yield item, row
            pieces += len(item.pieces or ()) + (len(item.stream.extents) if item.stream else 0)
            if pieces > PAGE_PIECES:
                return

    def outcomes(self, *, findings: bool = False) -> Iterator[tuple[Item, Outcome]]:
        """Everything that has an outcome, in the order of the manifest or of the volume.

        ``findings``: without what was made under its own name and verified as asked.
        """
        which = _FINDINGS if findings else "1"
        seq, found = -1, True
        while found:
            found = False
            rows = self._db.execute(
                f"""SELECT {_ITEM}, {_OUTCOME} FROM item WHERE seq > ? AND state != ? AND {which}
                    ORDER BY seq LIMIT {PAGE_ROWS}""",  # noqa: S608 - constants
                (seq, ItemState.PENDING),
            )
            for item, row in list(self._bounded(rows)):
                yield item, _outcome(row)
                seq, found = item.seq, True

    def _item(self, row: tuple[Any, ...]) -> Item:
        seq, path, blob, kind, length, disposition, stream = row[:7]
        side, listed = row[11:13]
        return Item(
            seq=seq,
            file_path=_from_text(path),
            blob=_from_text(blob),
            type=BlobType(kind),
            length=length,
            disposition=Disposition(disposition),
            stream=StreamRef.from_json(json.loads(stream)) if stream else None,
            facts=FileFacts(*row[7:11]),
            side=SideFiles(*json.loads(side)),
            pieces=self._pieces(seq) if listed else None,
        )

    def _pieces(self, seq: int) -> tuple[Piece, ...]:
        rows = self._db.execute(
            "SELECT ordinal, offset, length, id, md5 FROM piece WHERE seq = ? ORDER BY ordinal", (seq,)
        )
        return tuple(Piece(*row) for row in rows)

    def tally(self) -> Tally:
        """The books, counted afresh."""
        counts = {
            state: Count(files, size)
            for state, files, size in self._db.execute(
                "SELECT state, count(*), sum(length) FROM item GROUP BY state"
            )
        }
        return Tally(
            discovered=sum(counts.values(), Count()),
            done=counts.get(ItemState.DONE, Count()),
            failed=counts.get(ItemState.FAILED, Count()),
            skipped=counts.get(ItemState.SKIPPED, Count()),
        )

    def unread(self, after: int = -1) -> list[Item]:
        """The next items that failed because bytes of theirs could not be read; ``after`` is a ``seq``."""
        rows = self._db.execute(
            f"""SELECT {_ITEM} FROM item
               WHERE seq > ? AND state = ? AND (blob_status = ? OR pieces LIKE ?)
               ORDER BY seq LIMIT {PAGE_ROWS}""",  # noqa: S608 - constants
            (after, ItemState.FAILED, BlobStatus.IO_FAILED, f'%"{ChunkStatus.IO_FAILED}"%'),
        )
        return [item for item, _ in self._bounded(rows)]

    def has_any(self, status: DispositionStatus) -> bool:
        """Whether the disposition of some blob ended so."""
        row = self._db.execute("SELECT 1 FROM item WHERE disposition_status = ? LIMIT 1", (status,))
        return row.fetchone() is not None

    def verified(self) -> VerifiedCounts:
        """Files by what their verification found, counted afresh."""
        counts: dict[str, int] = {}
        for depth, verdict, files in self._db.execute(
            "SELECT depth, verdict, count(*) FROM item WHERE verdict IS NOT NULL GROUP BY depth, verdict"
        ):
            key = depth if verdict == Verdict.MATCH else verdict
            counts[key] = counts.get(key, 0) + files
        return VerifiedCounts(**counts)

    def side_id(self, path: str, md5: bytes, kind: str) -> int:
        """The number of a side file, new or known."""
        with self._db:
            self._db.execute(
                "INSERT OR IGNORE INTO side (path, md5, kind) VALUES (?, ?, ?)", (_text(path), md5, kind)
            )
        row = self._db.execute(
            "SELECT id FROM side WHERE path = ? AND md5 = ? AND kind = ?", (_text(path), md5, kind)
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


_ITEM = (
    "seq, file_path, blob, type, length, disposition, stream, modified, changed, created, attributes, "
    "side, listed"
)
_OUTCOME = (
    "state, blob_status, disposition_status, final_blob, note, pieces, metadata_status, properties_status, "
    "depth, verdict, crc64, content_md5, sha256"
)

_FINDINGS = f"""NOT (state = '{ItemState.DONE}' AND blob_status = '{BlobStatus.COMPLETED}'
    AND disposition_status IN ('{DispositionStatus.CREATED}', '{DispositionStatus.OVERWRITTEN}')
    AND verdict IS '{Verdict.MATCH}')"""
_INSERT_ITEM = """INSERT INTO item (seq, file_path, blob, type, length, disposition, stream, first_offset,
    modified, changed, created, attributes, side, listed, state) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"""
_SETTLE = """UPDATE item SET state=?, blob_status=?, disposition_status=?, final_blob=?, note=?, pieces=?,
    metadata_status=?, properties_status=?, depth=?, verdict=?, crc64=?, content_md5=?, sha256=?
    WHERE seq=?"""
_NO_SIDE = SideFiles()


def _item_columns(item: Item) -> tuple[Any, ...]:
    stream, side = item.stream, item.side
    return (
        item.seq,
        _text(item.file_path),
        _text(item.blob),
        item.type,
        item.length,
        item.disposition,
        json.dumps(stream.to_json()) if stream is not None else None,
        stream.first_offset if stream is not None else 0,
        *item.facts,
        "[]" if side == _NO_SIDE else json.dumps(astuple(side)),
        item.pieces is not None,
        ItemState.PENDING,
    )


def _outcome_columns(outcome: Outcome) -> tuple[Any, ...]:
    return (
        outcome.state,
        outcome.blob_status,
        outcome.disposition_status,
        _text(outcome.final_blob),
        outcome.note,
        json.dumps(dict(outcome.pieces)) if outcome.pieces else None,
        outcome.metadata_status,
        outcome.properties_status,
        *_verified_columns(outcome.verified),
        outcome.seq,
    )


def is_damage(error: Exception) -> bool:
    """Whether the database says that its file is not as it was written."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _lock(path: Path) -> int:
    """A descriptor whose lock ends with this process, however that ends."""
    fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _reopen(path: Path, wanted: Mapping[str, str]) -> sqlite3.Connection | None:
    """The journal that is there, if it is one and of this drive."""
    if not path.exists():
        return None
    db: sqlite3.Connection | None = None
    try:
        db = _connect(path)
        known = dict(db.execute("SELECT key, value FROM meta"))
    except sqlite3.DatabaseError as error:
        if db is not None:
            db.close()
        if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):
            return None
        raise
    if all(known.get(key) == value for key, value in wanted.items()):
        return db
    db.close()
    return None


def _connect(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    db = sqlite3.connect(path, check_same_thread=False, timeout=10)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    return db


def _outcome(row: tuple[Any, ...]) -> Outcome:
    state, status, disposition, final, note, pieces, metadata, properties = row[13:21]
    return Outcome(
        seq=row[0],
        state=ItemState(state),
        blob_status=BlobStatus(status),
        disposition_status=DispositionStatus(disposition),
        final_blob=_from_text(final),
        note=note or "",
        pieces={int(key): ChunkStatus(value) for key, value in json.loads(pieces or "{}").items()},
        metadata_status=SideFileStatus(metadata) if metadata else None,
        properties_status=SideFileStatus(properties) if properties else None,
        verified=_verified(*row[21:26]),
    )


def _verified_columns(verified: Verified | None) -> tuple[str | bytes | None, ...]:
    if verified is None:
        return (None,) * 5
    crc64 = verified.crc64.to_bytes(8, "big") if verified.crc64 is not None else None
    return verified.depth, verified.verdict, crc64, verified.content_md5, verified.sha256


def _verified(
    depth: str | None, verdict: str | None, crc64: bytes | None, md5: bytes | None, sha256: bytes | None
) -> Verified | None:
    if depth is None or verdict is None:
        return None
    whole = int.from_bytes(crc64, "big") if crc64 is not None else None
    return Verified(Depth(depth), Verdict(verdict), whole, md5, sha256)


def _side(row: tuple[int, bytes, bytes, str, str | None, str | None]) -> SideRow:
    number, path, md5, kind, status, fields = row
    return SideRow(
        number,
        _from_text(path),
        md5,
        kind,
        SideFileStatus(status) if status else None,
        json.loads(fields) if fields else None,
    )
