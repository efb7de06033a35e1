"""Reading a drive that has unreadable sectors: good data first, the rest later and for a bounded time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from agent.errors import UnreadableSectors
from agent.volume import mapfile
from agent.volume.block import BlockSource, check_range, is_wish, read_ahead
from agent.volume.doubts import Doubts
from agent.volume.drivemap import TROUBLE, DriveMap, State, Stretch
from agent.volume.manner import USUAL, Manner
from agent.volume.passing import Passing
from agent.volume.spending import USED_UP, Budget, Spending

FAN_OUT: Final = 16
"""Into so many parts is cut what could not be read. Each level of cutting costs a failing read, which
takes seconds; the good reads of a level take milliseconds. So wide is better than deep."""


class RescueSource:
    """A BlockSource over the drive, below partition table and BitLocker, that knows what is bad.

    While ``retrying`` is False (the first sweep over the files), a read that fails is noted and raised
    at once, and a read that touches what is noted is raised without asking the drive. While it is True
    (opening, listing, the last sweep), what is noted is read anew in smaller and smaller pieces down to
    a sector; what can be read fills the caller's buffer. What cannot is a bad sector, never asked again.
    Nothing is ever replaced by zeros. Reads made inside ``block.wishing`` are of the first kind always.

    ``clock`` gives seconds that never go back. Time in failing reads is bounded by ``budget``: a region
    or a drive that used it up is not read anew, and after twice as much not at all.

    Thread-safe when ``lock`` is one, such as a threading.Lock(); it is held for microseconds, never
    during a read. Two threads that retry one range at a time may both do so.

    ``manner`` says how much is asked of the drive at once, and what the first sweep passes over unasked.

    Errors are UnreadableSectors with the first bad range of the read, in bytes of the drive, and say how
    many there are.
    """

    def __init__(
        self,
        inner: BlockSource,
        clock: Callable[[], float],
        budget: Budget | None = None,
        lock: AbstractContextManager[object] | None = None,
        known: DriveMap | None = None,
        manner: Manner = USUAL,
    ) -> None:
        """``known`` is what an earlier visit found out of this drive; it is gone on with."""
        self._inner = inner
        self._clock = clock
        self._budget = budget or manner.budget
        self._piece_bytes = manner.piece_bytes or inner.size_bytes
        self._passing = Passing(manner)
        self._lock = lock or nullcontext()
        self._spending = Spending(self._budget)
        self.size_bytes = inner.size_bytes
        self.sector_size = inner.sector_size
        self.retrying = True
        self.bad = known if known is not None else DriveMap(inner.size_bytes)
        if self.bad.size_bytes != inner.size_bytes:
            raise ValueError(f"a map of {self.bad.size_bytes} bytes for a drive of {inner.size_bytes}")
        self.recoveries = 0
        """How often ``recovered`` found out that the drive had been away."""
        self._last_good = 0
        self._doubts = Doubts(inner.size_bytes)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        with self._lock:
            is_noted = self.bad.overlaps(offset, len(buffer))
        if not is_noted:
            try:
                self._ask(offset, buffer)
                return
            except UnreadableSectors:
                if not self._persists():
                    raise
        elif not self._persists():
            raise self._trouble(offset, len(buffer))
        self._rescue(offset, buffer)

    def read_ahead(self, offset: int, length: int) -> None:
        """A hint that is passed on, except where it would make the system read what is noted."""
        with self._lock:
            is_noted = self.bad.overlaps(offset, length)
        if not is_noted:
            read_ahead(self._inner, offset, length)

    @property
    def spent_s(self) -> float:
        """Seconds that failing reads have taken."""
        return self._spending.total_s

    def to_mapfile(self, remarks: Sequence[str] = (), *, show_finished: bool = False) -> str:
        """See ``mapfile.to_text``."""
        with self._lock:
            return mapfile.to_text(self.bad, remarks, show_finished=show_finished)

    # -- a drive that is away ---------------------------------------------------------------------

    def probe(self, offset: int) -> None:
        """Ask the drive for the sector at ``offset``, whatever is known of it; notes no trouble.

        Raises UnreadableSectors.
        """
        began = self._clock()
        sector = self.sector_size
        start = offset // sector * sector
        self._inner.read_into(start, memoryview(bytearray(min(sector, self.size_bytes - start))))
        with self._lock:
            self._settle(began)

    def why_gone(self) -> str | None:
        """What a drive says that answers nowhere any more; None when it is there.

        Costs nothing unless a read failed since the last one that succeeded. Then the place of that one
        is asked, and first, middle and last sector. When all fail, what was noted since is forgotten: a
        drive that was pulled is one event, and no map of bad sectors.
        """
        if not self._doubts.is_any:
            return None
        why = ""
        for place in (self._last_good, 0, self.size_bytes // 2, max(0, self.size_bytes - 1)):
            try:
                self.probe(place)
            except UnreadableSectors as error:
                why = error.detail
            else:
                return None
        self.forget_since_last_good()
        return why

    def forget_since_last_good(self) -> None:
        """What failed since the last read that succeeded is non-tried again, and its time not spent."""
        with self._lock:
            self._forget(self._doubts.take())
            self._spending.take_back()

    def recovered(self) -> bool:
        """Whether a bad sector found since the last call can be read now: then the drive faltered.

        All that failed since the last call is then forgotten. Takes at most a region's budget of time.
        """
        with self._lock:
            recent = self._doubts.take_recent()
            bad = [
                piece.start
                for start, length in recent
                for piece in self.bad.pieces(start, length)
                if piece.state is State.BAD_SECTOR
            ]
        until = self._clock() + self._budget.region_s
        for place in bad:
            if self._clock() > until:
                return False
            try:
                self.probe(place)
            except UnreadableSectors:
                continue
            with self._lock:
                self._forget(recent)
                self.recoveries += 1
            return True
        return False

    def _forget(self, ranges: list[tuple[int, int]]) -> None:
        for start, length in ranges:
            self.bad.mark(start, length, State.NON_TRIED)

    def _settle(self, began: float) -> None:
        if self._doubts.are_settled_by(began):
            self._spending.settle()

    # -- asking the drive -------------------------------------------------------------------------

    def _persists(self) -> bool:
        return self.retrying and not is_wish()

    def _ask(self, offset: int, buffer: memoryview) -> None:
        """Read what is not noted, as much at once as the manner says; what fails is noted."""
        at, end = offset, offset + len(buffer)
        while at < end:
            stop = min(end, at - at % self._piece_bytes + self._piece_bytes)
            self._ask_at_once(at, buffer[at - offset : stop - offset])
            at = stop

    def _ask_at_once(self, offset: int, buffer: memoryview) -> None:
        if not self._persists():
            with self._lock:
                is_passed = self._passing.is_over(offset, len(buffer))
            if is_passed:
                raise UnreadableSectors(offset, len(buffer), "passed over after failed reads, for later")
        with self._lock:
            why = self._spending.refusal(offset, anew=False)
            if why is not None:
                self._give_up(offset, len(buffer))
        if why is not None:
            raise UnreadableSectors(offset, len(buffer), why)
        error = self._try(offset, buffer)
        if error is not None:
            with self._lock:
                self._note(*self._failed_part(offset, offset + len(buffer), error))
            raise error

    def _note(self, start: int, end: int) -> None:
        """Set [start, end) aside, save what of it was read before: that is hardly what failed."""
        pieces = [p for p in self.bad.pieces(start, end - start) if p.state is State.NON_TRIED]
        for piece in pieces or [Stretch(start, end, State.FINISHED)]:
            self.bad.mark(piece.start, piece.length, State.NON_TRIMMED)

    def _give_up(self, offset: int, length: int) -> None:
        for piece in list(self.bad.pieces(offset, length)):
            if piece.state not in TROUBLE:
                self.bad.mark(piece.start, piece.length, State.NON_SCRAPED)

    def _try(self, offset: int, buffer: memoryview) -> UnreadableSectors | None:
        """One read of the drive; success is marked, and failure is charged and doubted."""
        began = self._clock()
        try:
            self._inner.read_into(offset, buffer)
        except UnreadableSectors as error:
            with self._lock:
                now = self._clock()
                start, end = self._failed_part(offset, offset + len(buffer), error)
                self._spending.charge(start, now - began)
                self._passing.failed(end)
                self._doubts.failed(start, end, now)
            return error
        with self._lock:
            self.bad.mark(offset, len(buffer), State.FINISHED)
            self._last_good = offset
            self._passing.succeeded()
            self._settle(began)
        return None

    def _failed_part(self, start: int, end: int, error: UnreadableSectors) -> tuple[int, int]:
        """What of a read of [start, end) failed, in whole sectors."""
        low, high = max(start, error.offset), min(end, error.offset + error.length)
        return self._whole(low, high) if low < high else self._whole(start, end)

    def _whole(self, start: int, end: int) -> tuple[int, int]:
        sector = self.sector_size
        return start // sector * sector, min(-(-end // sector) * sector, self.size_bytes)

    # -- reading anew -----------------------------------------------------------------------------

    def _rescue(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer piece by piece; once some of it cannot be had, only find out what else is bad.

        What counts is what came into this buffer: another thread may find the same bytes readable, or
        that the drive was away, and change what is noted of them at any moment.
        """
        at, end = offset, offset + len(buffer)
        is_lost = self._holds(offset, end, State.BAD_SECTOR)
        while at < end:
            with self._lock:
                piece = next(self.bad.pieces(at, end - at))
            part = buffer[at - offset : piece.end - offset]
            if piece.state in (State.NON_TRIMMED, State.NON_SCRAPED):
                is_lost = not self._resolve(piece, part) or is_lost
            elif piece.state is State.BAD_SECTOR:
                is_lost = True
            elif not is_lost:
                try:
                    self._ask(at, part)
                except UnreadableSectors:
                    # It is noted now, at this place or further on: at least a sector more than before.
                    continue
            at = piece.end
        if is_lost:
            raise self._trouble(offset, len(buffer))

    def _holds(self, start: int, end: int, *states: State) -> bool:
        with self._lock:
            return any(piece.state in states for piece in self.bad.pieces(start, end - start))

    def _resolve(self, noted: Stretch, part: memoryview) -> bool:
        """Read the sectors of a noted range, until each is finished, bad, or given up for lack of time.

        Says whether all of ``part`` was read.
        """
        low, high = self._whole(noted.start, noted.end)
        is_whole = True
        left = [(*cut, self._budget.sector_tries) for cut in self._cuts(low, high)]
        while left:
            start, end, tries = left.pop()
            with self._lock:
                if self._spending.refusal(start, anew=True) is not None:
                    self.bad.mark(start, end - start, State.NON_SCRAPED)
                    is_whole = False
                    continue
            error = self._retry(start, end, noted.start, part)
            if error is None:
                continue
            if end - start > self.sector_size:
                left += [(*cut, tries) for cut in self._around(start, end, error)]
            elif tries > 1:
                left.append((start, end, tries - 1))
            else:
                is_whole = False
                with self._lock:
                    self.bad.mark(start, end - start, State.BAD_SECTOR)
        return is_whole

    def _retry(self, start: int, end: int, base: int, part: memoryview) -> UnreadableSectors | None:
        """Read whole sectors; what of them lies in ``part``, which begins at byte ``base``, goes there."""
        if base <= start and end <= base + len(part):
            return self._try(start, part[start - base : end - base])
        scratch = memoryview(bytearray(end - start))
        error = self._try(start, scratch)
        low, high = max(start, base), min(end, base + len(part))
        part[low - base : high - base] = scratch[low - start : high - start]
        return error

    def _around(self, start: int, end: int, error: UnreadableSectors) -> Iterator[tuple[int, int]]:
        """What to read instead of [start, end), last first: the failed part cut, the rest as it is."""
        low, high = self._failed_part(start, end, error)
        if high < end:
            yield high, end
        yield from self._cuts(low, high)
        if start < low:
            yield start, low

    def _cuts(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """[start, end) in at most FAN_OUT pieces of whole sectors, last first."""
        sectors = -(-(end - start) // self.sector_size)
        step = -(-sectors // FAN_OUT) * self.sector_size
        for at in reversed(range(start, end, step)):
            yield at, min(at + step, end)

    def _trouble(self, offset: int, length: int) -> UnreadableSectors:
        """The error for a read of what is noted."""
        with self._lock:
            pieces = [piece for piece in self.bad.pieces(offset, length) if piece.state in TROUBLE]
            if not pieces:
                # Another thread has just read it; whoever asks again gets it.
                return UnreadableSectors(offset, length, "it could not be read until now")
            first = pieces[0]
            why = self._reason(first)
        if len(pieces) > 1:
            why += f"; {len(pieces)} such ranges, {sum(p.length for p in pieces)} bytes in all, in this read"
        return UnreadableSectors(first.start, first.length, why)

    def _reason(self, piece: Stretch) -> str:
        match piece.state:
            case State.BAD_SECTOR:
                tries = self._budget.sector_tries
                return f"bad sector, tried {'once' if tries == 1 else f'{tries} times'}"
            case State.NON_SCRAPED:
                return self._spending.refusal(piece.start, anew=True) or USED_UP
            case _:
                return "set aside after a failed read, to be tried again later"
