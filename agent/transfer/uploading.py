"""One drive's way into the store: from what the reader opened to the logs."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from agent.blobs.store import BlobStore
from agent.errors import IngestError, StateUnusable, StoreRefused, WorkerLost
from agent.formats.lognames import ReportKind
from agent.model.codes import BlobStatus, DispositionStatus, DriveStatus, LogLevel
from agent.model.tally import Tally
from agent.transfer import inventory
from agent.transfer.board import Board
from agent.transfer.books import Books
from agent.transfer.doubts import CHANGED, DOUBTS, NO_FILES, doubts_of
from agent.transfer.events import Tell, emit, error_fields, tally_fields
from agent.transfer.frames import Message
from agent.transfer.gauge import Gauge
from agent.transfer.items import ItemState, Marker
from agent.transfer.journal import Journal, is_damage
from agent.transfer.link import ReaderLink
from agent.transfer.losses import lost_files
from agent.transfer.mover import Mover
from agent.transfer.orders import UploadOrder
from agent.transfer.pace import Pace
from agent.transfer.patience import Patience, Renewal
from agent.transfer.reports import Report, Reporter, upload
from agent.transfer.room import Room, is_full, needed_bytes
from agent.transfer.room_watch import minding
from agent.transfer.sender import Sender
from agent.transfer.sides import read_side_files
from agent.transfer.speed import Speed
from agent.volume.manner import GENTLY

T = TypeVar("T")


class Uploader:
    """Moves one drive."""

    def __init__(
        self,
        order: UploadOrder,
        link: ReaderLink,
        store: BlobStore,
        tell: Tell = emit,
        renewal: Renewal | None = None,
    ) -> None:
        """Raises StateUnusable when the station's shared limits cannot be opened."""
        self._order, self._link, self._store, self._tell = order, link, store, tell
        self.stop = asyncio.Event()
        self._cancelled = False
        self._pace = Pace(
            Board(order.board),
            self.stop,
            account=order.store.address,
            job=str(order.job),
            drive=f"{order.serial.normal}/{os.getpid()}",
            connections=order.connections,
        )
        self._patience = Patience(
            order.give_up_after_s,
            self.stop,
            lambda detail: tell("waiting", detail=detail),
            pace=self._pace,
            renewal=renewal,
        )
        self._sender = Sender(store, self._patience, order.connections)
        self._gauge = Gauge(link, store, self._pace, self._patience, order.connections, order.reader_pid)
        self._speed = Speed()
        self._reporter = Reporter(
            order.job,
            order.serial,
            order.diagnostics,
            order.spool,
            order.block_bytes,
            folder=order.log_folder,
        )
        self._is_resume = order.journal.exists()
        self._journal: Journal | None = None
        self._books: Books | None = None
        self._mapfile, self._lost, self._doubts = "", list[str](), list[str]()
        self._room = Room(order.journal, order.keep_free_bytes, order.most_state_bytes)
        self._no_room: StateUnusable | None = None

    def command(self, word: str) -> None:
        """``stop`` or ``cancel``."""
        self._cancelled = self._cancelled or word == "cancel"
        self.stop.set()

    async def run(self) -> None:
        """To the end, whatever it is; the last event is ``finished``, ``paused`` or ``interrupted``."""
        try:
            await self._run()
        except IngestError as error:
            await self._end_with(error)
        except (sqlite3.Error, OSError) as error:
            await self._end_with(self._unusable(error))
        finally:
            self._pace.close()
            self._room.close()
            if self._journal is not None:
                self._journal.close()

    def _unusable(self, error: Exception) -> StateUnusable:
        if is_full(error):
            return StateUnusable(
                f"the state disk is full ({error}): free space there; the drive goes on by itself"
            )
        if self._journal is None or not is_damage(error):
            return StateUnusable(f"the journal or the log spool cannot be written: {error}")
        self._journal.set_aside()
        return StateUnusable(
            f"the journal was damaged and is set aside; the next try makes a new one: {error}"
        )

    async def _run(self) -> None:
        async with _listening(self._link):
            await self._sender.ensure_container(self._order.diagnostics)
            opened = await self._opened()
            if opened is None:
                self._tell("interrupted")
                return
            self._tell("opened", **{key: opened.get(key) for key in _OPENED})
            volume = str(opened.get("volume"))[:16]
            self._doubts = [*doubts_of(opened)]
            state = str(opened.get("state"))[:16]
            journal = self._journal = await asyncio.to_thread(
                Journal, self._order.journal, self._order.journal_of(volume, state)
            )
            if journal.is_of_changed_drive:
                self._tell("drive.changed", detail=CHANGED)
            await asyncio.to_thread(self._room.claim, self._needed_bytes(opened))
            async with minding(self._room, self._pause_for_room):
                if await self._unless_stopped(self._prepare(journal)) is not None:
                    await self._move(journal, volume, _number(opened, "size"))
                    await self._look_for_bad_sectors(journal)
        if self._no_room is not None and not self._cancelled:
            raise self._no_room
        if self._cancelled:
            await asyncio.to_thread(
                journal.close_pending, ItemState.SKIPPED, BlobStatus.FAILED, "the job was cancelled"
            )
        if self.stop.is_set() and not self._cancelled:
            self._tell("interrupted")
            return
        await self._finish(journal)

    def _needed_bytes(self, opened: Message) -> int:
        listed_bytes = 0 if self._order.manifest_file is None else _number(opened, "size")
        is_verbose = self._order.log_level is LogLevel.VERBOSE
        return needed_bytes(_number(opened, "records"), verbose=is_verbose, listed_bytes=listed_bytes)

    def _pause_for_room(self, error: StateUnusable) -> None:
        self._no_room = error
        self.stop.set()

    async def _opened(self) -> Message | None:
        """What the reader found; None when it was stopped first. To cancel takes the drive's books."""
        opened = await self._unless_stopped(self._link.answer("opened"))
        if opened is None and self._cancelled:
            return await self._link.answer("opened")
        return opened

    async def _prepare(self, journal: Journal) -> Journal:
        if not journal.is_complete:
            await self._take_inventory(journal)
        await read_side_files(self._link, journal)
        return journal

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of work that need not be settled; None when it was cut short."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self.stop.wait())
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return None

    async def _take_inventory(self, journal: Journal) -> None:
        order = self._order
        if order.manifest_file is None:
            assert order.destination is not None
            await inventory.of_volume(
                self._link,
                journal,
                order.destination,
                order.disposition,
                self._counting,
                upload_streams=order.upload_streams,
            )
            return
        # Here, for it brings a parser of XML along, which most drives do not need.
        from agent.transfer.manifest_inventory import ManifestInventory

        taker = ManifestInventory(self._link, journal, order.serial, self._counting)
        copy_to = self._manifest_copy if order.backup_manifest else None
        for warning in await taker.take(order.manifest_file, order.manifest_hash, copy_to):
            self._tell("manifest.warning", detail=warning)

    @property
    def _manifest_copy(self) -> Path:
        return self._order.spool / "manifest.private"

    async def _move(self, journal: Journal, volume: str, volume_bytes: int) -> None:
        order = self._order
        books = self._books = Books(journal, self._progress)
        await books.load()

        mover = Mover(
            self._link,
            self._sender,
            journal,
            books,
            marker_of=Marker(str(order.job), order.serial.normal, volume),
            block_bytes=order.block_bytes,
            volume_bytes=volume_bytes,
            stop=self.stop,
            treatment=order.treatment,
            window_bytes=GENTLY.piece_bytes if order.gently else None,
        )
        if self._is_resume:
            # What the journal missed at the end of the life before is asked for and not sent again.
            mover.recognition.found()
        gauging = asyncio.create_task(self._gauge.keep())
        keeper = asyncio.create_task(books.keep())
        keeper.add_done_callback(self._stop_if_failed)
        try:
            await mover.move()
        except BaseExceptionGroup as group:
            raise _first_of_tree(group) from None
        finally:
            gauging.cancel()
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            await books.flush()

    async def _look_for_bad_sectors(self, journal: Journal) -> None:
        found = await self._link.drive_map()
        if not found.unreadable:
            return
        files, self._lost = await lost_files(self._link, journal)
        self._mapfile = found.text
        self._tell(
            "drive.unreadable",
            detail=f"{found.unreadable} bytes in {found.ranges} places of the drive cannot be read; "
            f"files lost to them: {files}",
            files=files,
            ranges=found.ranges,
            bytes=found.unreadable,
        )

    def _stop_if_failed(self, keeper: asyncio.Task[None]) -> None:
        """A journal that cannot be written stops the transfer: nothing more is begun."""
        if not keeper.cancelled() and keeper.exception() is not None:
            self.stop.set()

    def _counting(self, files: int) -> None:
        self._tell("inventory", files=files)

    @property
    def _moved_any(self) -> bool:
        return self._is_resume or (self._books is not None and self._books.tally.done.files > 0)

    def _progress(self, tally: Tally, percent: int) -> None:
        through = self._books.through_bytes if self._books is not None else 0
        self._speed.take(asyncio.get_running_loop().time(), through)
        self._tell(
            "progress",
            percent=percent,
            through_bytes=through,
            bytes_per_s=self._speed.bytes_per_s,
            seconds_left=self._speed.seconds_left(tally.discovered.bytes - through),
            waiting=self._patience.waiting_for,
            limited_by=self._gauge.named,
            waited=self._gauge.percents,
            limit=self._pace.limit,
            **self._weather,
            **tally_fields(tally),
        )

    @property
    def _weather(self) -> dict[str, int]:
        return {
            "cut_requests": self._patience.cut_requests,
            "throttled_requests": self._patience.throttled_requests,
        }

    async def _finish(self, journal: Journal) -> None:
        tally = await asyncio.to_thread(journal.tally)
        if not tally.balances or not (journal.is_complete or self._cancelled):
            raise AssertionError(f"the books do not balance: {tally}")
        doubts = [] if await asyncio.to_thread(self._is_promised, journal) else [*self._doubts]
        if not (tally.discovered.files or self._cancelled):
            doubts.append(NO_FILES)
        status = await asyncio.to_thread(_status, journal, tally, has_doubts=bool(doubts))
        if self._cancelled:
            status = DriveStatus.COMPLETED_WITH_ERRORS
        extra: dict[str, object] = {"detail": "; ".join(doubts)} if doubts else {}
        extra["overwritten"] = await asyncio.to_thread(journal.has_any, DispositionStatus.OVERWRITTEN)
        await self._report(journal, status, tally, cancelled=self._cancelled, **extra)

    def _is_promised(self, journal: Journal) -> bool:
        """Whether a manifest told every block of what was to be copied, and each was compared with it."""
        is_listed = self._order.manifest_file is not None and not journal.has_any_unlisted
        return is_listed and not journal.verified().transit

    async def _report(
        self, journal: Journal | None, status: DriveStatus, tally: Tally, **extra: object
    ) -> None:
        """Write the logs, put them into the store, and say so; where they cannot go they stay here."""
        self.stop.clear()
        addresses: dict[str, str] = {}
        for make in self._reports(journal, status):
            report: Report = await asyncio.to_thread(make)
            addresses[report.kind] = str(report.path)
            try:
                addresses[report.kind] = await upload(report, self._store, self._sender)
            except IngestError as error:
                self._tell("log.kept", path=str(report.path), **error_fields(error))
        if journal is not None:
            extra["verified"] = asdict(await asyncio.to_thread(journal.verified))
        self._tell("finished", status=status, logs=addresses, **self._weather, **tally_fields(tally), **extra)

    def _reports(self, journal: Journal | None, status: DriveStatus) -> Iterator[Any]:
        yield lambda: self._reporter.log(ReportKind.ERROR, journal, status)
        if self._order.log_level is LogLevel.VERBOSE:
            yield lambda: self._reporter.log(ReportKind.VERBOSE, journal, status)
        if journal is not None and self._manifest_copy.exists():
            yield self._back_up_manifest
        self._manifest_copy.unlink(missing_ok=True)
        if self._mapfile:
            yield lambda: self._reporter.mapfile(self._mapfile, self._lost)

    def _back_up_manifest(self) -> Report:
        return self._reporter.manifest(self._manifest_copy)

    async def _end_with(self, error: IngestError) -> None:
        """A drive's own trouble ends it; the station's and the network's pause it."""
        if self._no_room is not None and error.retriable and not self._cancelled:
            # What waited was told to stop for that reason.
            self._tell("paused", **error_fields(self._no_room))
        elif self.stop.is_set() and error.retriable:
            self._tell("interrupted")
        elif _ends_the_drive(error) and not (isinstance(error, StoreRefused) and self._moved_any):
            await self._end_drive(error)
        else:
            self._tell("paused", **error_fields(error))

    async def _end_drive(self, error: IngestError) -> None:
        """The drive's own trouble ends it; what was moved before stays in the books and in the logs."""
        assert error.status is not None
        journal, tally = self._journal, Tally()
        if journal is not None and journal.is_complete:
            await asyncio.to_thread(
                journal.close_pending, ItemState.FAILED, BlobStatus.IO_FAILED, error.detail
            )
            tally = await asyncio.to_thread(journal.tally)
        else:
            journal = None
        await self._report(journal, error.status, tally, **error_fields(error))


_OPENED = ("volume", "label", *DOUBTS, "choice", "protection", "confinement", "reading")


def _number(opened: Message, what: str) -> int:
    number = opened.get(what)
    if not isinstance(number, int) or not 0 <= number < 1 << 63:
        raise WorkerLost(f"the reader opened a volume of no {what}")
    return number


def _ends_the_drive(error: IngestError) -> bool:
    return error.status is not None and error.side in ("drive", "service")


def _status(journal: Journal, tally: Tally, *, has_doubts: bool) -> DriveStatus:
    is_renamed = journal.has_any(DispositionStatus.RENAMED)
    # Of a drive with new names a warning is taken for these, by whoever reads its log.
    if tally.failed.files or (has_doubts and is_renamed):
        return DriveStatus.COMPLETED_WITH_ERRORS
    if has_doubts or is_renamed or tally.skipped.files or journal.verified().unknown:
        return DriveStatus.COMPLETED_WITH_WARNINGS
    return DriveStatus.COMPLETED


def _first_of_tree(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that explains the group: ours before any other."""
    leaves = list(_leaves(group))
    return next((leaf for leaf in leaves if isinstance(leaf, IngestError)), leaves[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


@asynccontextmanager
async def _listening(link: ReaderLink) -> AsyncIterator[None]:
    task = asyncio.create_task(link.listen())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
