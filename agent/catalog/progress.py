"""Rules for the books of one drive: progress never goes back, 100 % is a finish that balances."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from agent.catalog import rows
from agent.errors import MoveRefused
from agent.model.codes import DriveStatus
from agent.model.going import NOT_GOING, Going
from agent.model.states import DriveEvent, DriveState
from agent.model.tally import Count, Tally

FINISHES = frozenset({DriveEvent.FINISH_CLEAN, DriveEvent.FINISH_WITH_FINDINGS})


STANDING = {"limited_by": None, "bytes_per_s": None, "seconds_left": None}
"""Of a transfer that does not run."""


def going_columns(going: Going) -> dict[str, Any]:
    """Columns of how a transfer goes."""
    return asdict(going)


def advanced(row: rows.AnyRow, tally: Tally | None, percent: int | None) -> dict[str, Any]:
    """Columns that a report of progress changes; a report older than the books changes nothing."""
    values: dict[str, Any] = {"percent_complete": max(row.percent_complete, min(99, percent or 0))}
    if tally is not None and not _behind(tally, rows.tally(row)):
        values |= rows.tally_columns(tally)
    return values


def moved(row: rows.AnyRow, event: DriveEvent, tally: Tally | None, percent: int | None) -> dict[str, Any]:
    """Columns of progress that a move changes; raises MoveRefused for a clean finish that is not clean.

    A transfer that begins starts from nothing. A finish states the final books: 100 % when they
    balance, unless the finish says less, as for a drive that could not even be opened.
    """
    if event is DriveEvent.BEGIN:
        begun = {"percent_complete": min(99, max(0, percent or 0)), **going_columns(NOT_GOING)}
        return begun | rows.tally_columns(tally or Tally())
    if event not in FINISHES:
        return advanced(row, tally, percent) | STANDING
    books = tally or rows.tally(row)
    if event is DriveEvent.FINISH_CLEAN and (not books.balances or books.failed != Count()):
        raise MoveRefused(
            f"drive {row.serial_shown} is not clean: "
            f"{books.discovered.files} files discovered, {books.done.files} done, "
            f"{books.failed.files} failed, {books.skipped.files} skipped"
        )
    whole = event is DriveEvent.FINISH_CLEAN or percent is None or percent >= 100
    reached = (100 if whole else max(0, percent or 0)) if books.balances else min(99, percent or 0)
    return {"percent_complete": max(row.percent_complete, reached), **rows.tally_columns(books), **STANDING}


def outcome(event: DriveEvent, state: DriveState, copy_status: str | None) -> dict[str, Any]:
    """Columns that say how the copy ended, or that it is open again."""
    match event:
        case DriveEvent.FINISH_CLEAN:
            return {"outcome": state.value, "copy_status": copy_status or DriveStatus.COMPLETED.value}
        case DriveEvent.FINISH_WITH_FINDINGS:
            default = DriveStatus.COMPLETED_WITH_ERRORS.value
            return {"outcome": state.value, "copy_status": copy_status or default}
        case DriveEvent.GIVE_UP:
            default = DriveStatus.DISK_OPERATION_FAILED.value
            return {"outcome": state.value, "copy_status": copy_status or default}
    return {} if copy_status is None else {"copy_status": copy_status}


def _behind(new: Tally, old: Tally) -> bool:
    pairs = ((new.discovered, old.discovered), (new.accounted, old.accounted))
    return any(later.files < before.files or later.bytes < before.bytes for later, before in pairs)
