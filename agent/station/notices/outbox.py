"""Letters that are under way, and those that were given up: a file of the station's state directory.

The place in the history up to which letters were written moves with them, so that a restart loses none.
Everything here blocks, and may raise StateUnusable.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import StateUnusable
from agent.station.notices.letters import Letter

VERSION = 1
BUSY_TIMEOUT_S = 10.0
MAX_WAITING = 10_000
"""A hook's letters; what comes beyond that is given up at once."""
MAX_DEAD = 10_000
"""A hook's letters that were given up; the oldest are forgotten first."""
GONE = "there is no hook of this name any more"
LONGEST_WAIT_S = 3 * 3600.0
"""No letter waits longer for its next try: when one seems to, the clock was set back."""

_SCHEMA = """
CREATE TABLE note (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE standing (
    job TEXT NOT NULL, serial TEXT NOT NULL, since REAL NOT NULL, what TEXT NOT NULL,
    told INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (job, serial)
);
CREATE TABLE letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hook TEXT NOT NULL, message TEXT NOT NULL, type TEXT NOT NULL,
    body TEXT NOT NULL, begun REAL NOT NULL, tries INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL,
    why TEXT NOT NULL DEFAULT '', dead REAL, UNIQUE (hook, message)
);
CREATE INDEX letter_by_turn ON letter (hook, dead, next_at);
"""
_COLUMNS = "id, hook, message, type, body, begun, tries, next_at, why, dead"


@dataclass(frozen=True, slots=True)
class Kept:
    """A letter in the box. Times are seconds since 1970; ``dead`` is when it was given up."""

    id: int
    hook: str
    message: str
    type: str
    body: str
    begun: float
    tries: int
    next_at: float
    why: str
    dead: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A drive of a job that stands still since then; ``what`` None: it does not any more.

    ``is_told``: it is known already that it stands still for long.
    """

    job: str
    serial: str
    since: float
    what: str | None
    is_told: bool = False


class Outbox:
    """Safe beside other processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cursor(self) -> int | None:
        """The last event of which letters were written; None before the first time."""
        text = self.noted("cursor")
        return None if text is None else int(text)

    def noted(self, key: str) -> str | None:
        """What was noted under the name."""
        with self._open() as base:
            row = base.execute("SELECT value FROM note WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def note(self, notes: Mapping[str, str]) -> None:
        """For later."""
        with self._turn() as base:
            for key, value in notes.items():
                _note(base, key, value)

    def put(self, cursor: int, letters: Sequence[Letter], standing: Sequence[Standing], now: float) -> int:
        """All of it or nothing; how many letters found no room and are given up."""
        with self._turn() as base:
            for drive in standing:
                _stand(base, drive)
            over = sum(_put(base, one, now) for one in letters)
            for hook in {one.hook for one in letters} if over else ():
                _forget(base, hook)
            _note(base, "cursor", str(cursor))
        return over

    def due(self, hook: str, now: float) -> Kept | None:
        """The letter whose turn it is."""
        with self._open() as base:
            row = base.execute(
                f"SELECT {_COLUMNS} FROM letter WHERE hook = ? AND dead IS NULL"  # noqa: S608 - a constant
                " AND (next_at <= ? OR next_at > ?) ORDER BY next_at, id LIMIT 1",
                (hook, now, now + LONGEST_WAIT_S),
            ).fetchone()
        return None if row is None else Kept(*row)

    def delivered(self, number: int) -> None:
        """It is there."""
        with self._turn() as base:
            base.execute("DELETE FROM letter WHERE id = ?", (number,))

    def put_off(self, number: int, next_at: float, why: str) -> None:
        """It is tried again then."""
        with self._turn() as base:
            base.execute(
                "UPDATE letter SET tries = tries + 1, next_at = ?, why = ? WHERE id = ?",
                (next_at, why, number),
            )

    def give_up(self, kept: Kept, now: float, why: str) -> None:
        """It is tried no more, until somebody says so."""
        with self._turn() as base:
            base.execute(
                "UPDATE letter SET tries = tries + 1, dead = ?, why = ? WHERE id = ?", (now, why, kept.id)
            )
            _forget(base, kept.hook)

    def abandon(self, hooks: Collection[str], now: float) -> int:
        """Letters to any other hook are given up: it was removed, or has another name. How many."""
        others = f"hook NOT IN ({', '.join('?' * len(hooks))})"
        with self._turn() as base:
            return base.execute(
                f"UPDATE letter SET dead = ?, why = ? WHERE dead IS NULL AND {others}",  # noqa: S608 - marks alone
                (now, GONE, *hooks),
            ).rowcount

    def letters(self, *, waiting: bool = False) -> list[Kept]:
        """Those that were given up, oldest first; with ``waiting`` those under way as well."""
        if not self._path.exists():
            return []
        which = "" if waiting else "WHERE dead IS NOT NULL "
        with self._open() as base:
            rows = base.execute(f"SELECT {_COLUMNS} FROM letter {which}ORDER BY id").fetchall()  # noqa: S608
        return [Kept(*row) for row in rows]

    def retry(self, numbers: Sequence[int] | None, now: float) -> int:
        """Those given up, or all of them with None, are tried anew, for as long as new ones. How many."""
        return self._change(
            "UPDATE letter SET dead = NULL, tries = 0, begun = ?1, next_at = ?1", numbers, now
        )

    def drop(self, numbers: Sequence[int] | None) -> int:
        """Those given up, or all of them with None, are forgotten. How many."""
        return self._change("DELETE FROM letter", numbers)

    def _change(self, begin: str, numbers: Sequence[int] | None, *values: float) -> int:
        # A box that a command of root's made would be root's, and no use to the station.
        if not self._path.exists():
            return 0
        with self._turn() as base:
            if numbers is None:
                return base.execute(f"{begin} WHERE dead IS NOT NULL", values).rowcount
            place = len(values) + 1
            one = f"{begin} WHERE dead IS NOT NULL AND id = ?{place}"
            return sum(base.execute(one, (*values, number)).rowcount for number in numbers)

    def long_standing(self, before: float) -> list[Standing]:
        """Drives that stand still since before, and of which nobody was told."""
        with self._open() as base:
            rows = base.execute(
                "SELECT job, serial, since, what FROM standing WHERE told = 0 AND since <= ? LIMIT 100",
                (before,),
            ).fetchall()
        return [Standing(*row) for row in rows]

    @contextmanager
    def _turn(self) -> Iterator[sqlite3.Connection]:
        with self._open() as base:
            base.execute("BEGIN IMMEDIATE")
            yield base
            base.execute("COMMIT")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as base:
                _prepare(base)
                yield base
        except OSError as error:
            raise StateUnusable(f"the box of letters {self._path} cannot be used: {error.strerror}") from None
        except sqlite3.Error as error:
            raise StateUnusable(f"the box of letters {self._path} cannot be used: {error}") from None


def outbox_of(state_dir: Path) -> Outbox:
    """That of a station."""
    return Outbox(state_dir / "notices.sqlite")


def _prepare(base: sqlite3.Connection) -> None:
    if _version(base) == VERSION:
        return
    base.execute("BEGIN IMMEDIATE")
    found = _version(base)
    if found not in (0, VERSION):
        raise StateUnusable("the box of letters is of a newer ingest-agent")
    if found == 0:
        for statement in filter(str.strip, _SCHEMA.split(";")):
            base.execute(statement)
        base.execute(f"PRAGMA user_version = {VERSION}")
    base.execute("COMMIT")


def _version(base: sqlite3.Connection) -> int:
    return int(base.execute("PRAGMA user_version").fetchone()[0])


def _note(base: sqlite3.Connection, key: str, value: str) -> None:
    base.execute("INSERT OR REPLACE INTO note (key, value) VALUES (?, ?)", (key, value))


def _stand(base: sqlite3.Connection, drive: Standing) -> None:
    if drive.what is None:
        base.execute("DELETE FROM standing WHERE job = ? AND serial = ?", (drive.job, drive.serial))
        return
    if drive.is_told:
        base.execute("UPDATE standing SET told = 1 WHERE job = ? AND serial = ?", (drive.job, drive.serial))
        return
    # Another reason to stand still begins no new time.
    base.execute(
        "INSERT INTO standing (job, serial, since, what) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (job, serial) DO UPDATE SET what = excluded.what",
        (drive.job, drive.serial, drive.since, drive.what),
    )


def _put(base: sqlite3.Connection, one: Letter, now: float) -> bool:
    """Whether there was no room for it."""
    count = "SELECT count(*) FROM letter WHERE hook = ? AND dead IS NULL"
    is_full = bool(base.execute(count, (one.hook,)).fetchone()[0] >= MAX_WAITING)
    base.execute(
        "INSERT OR IGNORE INTO letter (hook, message, type, body, begun, next_at, why, dead)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            one.hook,
            one.message,
            one.type,
            one.body,
            now,
            now,
            f"{MAX_WAITING} letters wait already" if is_full else "",
            now if is_full else None,
        ),
    )
    return is_full


def _forget(base: sqlite3.Connection, hook: str) -> None:
    base.execute(
        "DELETE FROM letter WHERE id IN (SELECT id FROM letter WHERE hook = ? AND dead IS NOT NULL"
        " ORDER BY id DESC LIMIT -1 OFFSET ?)",
        (hook, MAX_DEAD),
    )
