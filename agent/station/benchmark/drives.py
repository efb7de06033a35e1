"""Measures drives, or images of some: read-only, and none that the system or the station uses."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.config import Settings
from agent.devices.image import ImageEntry, ImageSource, open_read_only
from agent.devices.readonly import SYS_BLOCK
from agent.devices.source import Device, DeviceSource
from agent.devices.usage import user_of
from agent.errors import DeviceUnavailable, DiskOperationFailed, DriveBusy, IngestError, Side
from agent.model.identity import SerialNumber
from agent.station.benchmark.figures import DriveFigures, DrivesFigures, Reading, Trouble
from agent.station.benchmark.occupied import is_worked
from agent.station.benchmark.reading import a_little_apart, in_a_row, read_for
from agent.threads import in_thread
from agent.volume.block import FdSource
from agent.volume.direct import DirectSource

ANSWER_WITHIN_S = 30.0
"""Longer than a healthy drive takes for one read, also one that has to spin up."""
ALONE, FIRST, LAST, SCATTERED = 0.7, 0.4, 0.3, 0.3
"""Shares of the time: drives one by one, and of each of these."""
_NAMELESS = SerialNumber.parse("-")
NO_READING = Reading(0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A drive that may be measured."""

    name: str
    bay: str
    size_bytes: int
    sector_size: int
    open: Callable[[], Awaitable[int]]
    """Gives a read-only descriptor, which the caller closes. Raises DeviceUnavailable."""


Chosen = tuple[list[Candidate], list[Trouble]]


async def attached(source: DeviceSource, settings: Settings, wanted: Sequence[SerialNumber] = ()) -> Chosen:
    """The drives of a source that may be measured, all or those ``wanted``, and why others may not."""
    chosen: list[Candidate] = []
    troubles: list[Trouble] = []
    found = [each for each in await source.devices() if not wanted or each.serial in wanted]
    for device in found:
        reason = _reason(device, settings, is_wanted=bool(wanted))
        if reason is not None:
            troubles.append(reason)
            continue
        name, size, sector = device.serial.shown, device.size_bytes, device.sector_size
        chosen.append(Candidate(name, device.bay, size, sector, _opener(source, device)))
    for serial in wanted:
        if serial not in {device.serial for device in found}:
            troubles.append(Trouble.of(str(serial), DeviceUnavailable(f"drive {serial} is not attached")))
    return chosen, troubles


def _opener(source: DeviceSource, device: Device) -> Callable[[], Awaitable[int]]:
    return lambda: source.open(device)


def _reason(device: Device, settings: Settings, *, is_wanted: bool) -> Trouble | None:
    name, hindrance = str(device.serial), device.hindrance
    if hindrance is not None:
        code = DeviceUnavailable.exit_code if is_wanted else 0
        return Trouble(
            name, hindrance.id, str(hindrance.side), hindrance.detail, hindrance.next_step, exit_code=code
        )
    if device.is_failing:
        said = f"drive {device.serial} is failing (SMART), and is spared"
        return Trouble(name, "DriveFailing", str(Side.DRIVE), said, "Ingest it first; measure a healthy one.")
    return _of_station(name, device.serial, settings, is_wanted=is_wanted)


def _of_station(
    name: str, serial: SerialNumber, settings: Settings, *, is_wanted: bool = True
) -> Trouble | None:
    try:
        if not is_worked(settings.state_dir, serial):
            return None
        raise DriveBusy(f"the station reads drive {serial} at this moment")
    except IngestError as error:
        found = Trouble.of(name, error)
        if is_wanted:
            return found
        return Trouble(found.what, found.id, found.side, found.detail, found.next_step)


async def at_paths(paths: Sequence[Path], settings: Settings) -> Chosen:
    """Images and devices that a person names."""
    chosen: list[Candidate] = []
    troubles: list[Trouble] = []
    for path in paths:
        found = await ImageSource([ImageEntry(path, _NAMELESS, "-")]).devices()
        known = next((image.serial for image in settings.images if _is_same(image.path, path)), None)
        reason = _of_station(str(path), known, settings) if known is not None else None
        if reason is None and not found:
            reason = Trouble.of(str(path), _no_drive(path))
        if reason is not None:
            troubles.append(reason)
        else:
            chosen += [
                Candidate(str(path), "-", each.size_bytes, each.sector_size, _at(path)) for each in found
            ]
    return chosen, troubles


def _at(path: Path) -> Callable[[], Awaitable[int]]:
    """A device is claimed for as long as it is open, so that nobody mounts it."""
    return lambda: in_thread(lambda: open_read_only(path, os.O_EXCL if path.is_block_device() else 0))


def _is_same(first: Path, second: Path) -> bool:
    with suppress(OSError):
        return first.samefile(second)
    return False


def _no_drive(path: Path) -> DeviceUnavailable:
    try:
        os.close(open_read_only(path))
    except DeviceUnavailable as error:
        return error
    return DeviceUnavailable(f"{path} is empty")


class _Open:
    """A drive that is being measured."""

    def __init__(self, candidate: Candidate, fd: int, stop: asyncio.Event) -> None:
        """Takes over the descriptor. Raises DeviceUnavailable for what the system uses."""
        self.candidate, self._fd, self._stop = candidate, fd, stop
        self._is_closed = False
        self._reading: asyncio.Future[Reading] | None = None
        self._check_unused()
        size, sector = candidate.size_bytes, candidate.sector_size
        self.source: DirectSource | FdSource = DirectSource(fd, size, sector)
        if not self.source.is_direct:
            with suppress(OSError):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def _check_unused(self) -> None:
        number = os.fstat(self._fd).st_rdev
        if not stat.S_ISBLK(os.fstat(self._fd).st_mode):
            return
        folder = (SYS_BLOCK / f"{os.major(number)}:{os.minor(number)}").resolve()
        user = user_of(folder.parent if (folder / "partition").exists() else folder)
        if user is not None:
            raise DeviceUnavailable(f"{self.candidate.name} is not touched: {user}")

    async def read(self, places: Iterator[tuple[int, int]], seconds: float) -> Reading:
        """Raises UnreadableSectors, and DiskOperationFailed when the drive does not answer."""
        if self._stop.is_set():
            return NO_READING

        def is_wanted() -> bool:
            return not (self._stop.is_set() or self._is_closed)

        self._reading = in_thread(lambda: read_for(self.source, places, seconds, is_wanted))
        done, _ = await asyncio.wait({self._reading}, timeout=seconds + ANSWER_WITHIN_S)
        if not done:
            raise DiskOperationFailed(
                f"{self.candidate.name} gave no answer to a read in {ANSWER_WITHIN_S:.0f} s"
            )
        return self._reading.result()

    async def figures(self, seconds: float) -> DriveFigures:
        """Alone, for so long. Raises as ``read``."""
        size, one = self.candidate.size_bytes, self.candidate
        first = await self.read(in_a_row(0, size), seconds * FIRST)
        last = await self.read(in_a_row(_last_part(size), size), seconds * LAST)
        scattered = await self.read(a_little_apart(_aligned(size // 4), size), seconds * SCATTERED)
        return DriveFigures(one.name, one.bay, size, self.source.is_direct, first, last, scattered)

    async def close(self) -> None:
        """A descriptor that a read hangs in is left to the end of the process."""
        self._is_closed = True
        if self._reading is not None and not self._reading.done():
            done, _ = await asyncio.wait({self._reading}, timeout=1.0)
            if not done:
                return
        os.close(self._fd)


def _aligned(offset: int) -> int:
    return offset & ~0xFFFFF


def _last_part(size: int) -> int:
    """The last gigabytes, as far as they are not the first half."""
    return _aligned(max(size // 2, size - (16 << 30)))


async def measure_drives(
    chosen: Chosen, seconds: float, stop: asyncio.Event, told: Callable[[str], None] = lambda what: None
) -> DrivesFigures:
    """One by one, then all at once; for about so many seconds, or until ``stop``."""
    candidates, troubles = list(chosen[0]), list(chosen[1])
    opened: list[_Open] = []
    try:
        for candidate in candidates:
            try:
                opened.append(await _opened(candidate, stop))
            except IngestError as error:
                troubles.append(Trouble.of(candidate.name, error))
        several = len(opened) > 1
        each_s = seconds * (ALONE if several else 1) / max(1, len(opened))
        figures: list[DriveFigures] = []
        sound: list[_Open] = []
        for drive in opened:
            told(f"drive {drive.candidate.name}")
            try:
                figures.append(await drive.figures(each_s))
                sound.append(drive)
            except IngestError as error:
                troubles.append(Trouble.of(drive.candidate.name, error))
        together = None
        if len(sound) > 1 and not stop.is_set():
            told(f"{len(sound)} drives at once")
            together = await _together(sound, seconds * (1 - ALONE), troubles)
    finally:
        for drive in opened:
            await drive.close()
    return DrivesFigures(tuple(figures), together, tuple(troubles))


async def _opened(candidate: Candidate, stop: asyncio.Event) -> _Open:
    fd = await candidate.open()
    try:
        return _Open(candidate, fd, stop)
    except BaseException:
        os.close(fd)
        raise


async def _together(drives: Sequence[_Open], seconds: float, troubles: list[Trouble]) -> float | None:
    """What all of them give at once, each from a place where none was read; None when one fails."""
    reads = []
    for drive in drives:
        size = drive.candidate.size_bytes
        reads.append(drive.read(in_a_row(_aligned(size // 8), size), seconds))
    found = await asyncio.gather(*reads, return_exceptions=True)
    for drive, each in zip(drives, found, strict=True):
        if isinstance(each, IngestError):
            troubles.append(Trouble.of(drive.candidate.name, each))
        elif isinstance(each, BaseException):
            raise each
    readings = [each for each in found if isinstance(each, Reading)]
    return sum(each.bytes_per_s for each in readings) if len(readings) == len(drives) else None
