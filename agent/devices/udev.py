"""The drives of this machine, as udev sees them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.devices.bays import bay_of, controller_of
from agent.devices.claims import Claim, Claims
from agent.devices.facts import DriveFacts
from agent.devices.health import Health, unknown
from agent.devices.hindrance import Hindrance, HindranceKind
from agent.devices.identity import Identity, SmartIdentity, identify
from agent.devices.image import open_read_only
from agent.devices.monitor import UdevMonitor
from agent.devices.readonly import look, protect, unprotect
from agent.devices.smart import Smartctl
from agent.devices.source import Device
from agent.devices.udevdb import disks
from agent.devices.usage import user_of, writers
from agent.errors import DeviceUnavailable
from agent.threads import in_thread

SETTLE_S: Final = 0.2
"""A flood of events is one piece of news."""
EXAMINE_WITHIN_S: Final = 3.0
"""How long drives that are there may be kept waiting for one that does not answer."""
SPIN_UP_WITHIN_S: Final = 30.0
"""A hard disk takes 5 to 15 s to its first answer, some more; who is silent for longer has a trouble."""
OPEN_WITHIN_S: Final = 60.0
"""Longer than the kernel takes to give up one command."""
DESCRIBE_WITHIN_S: Final = 10.0
"""How long udev may take over a new drive."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """A disk at one moment, and who used it then."""

    facts: DriveFacts
    user: str | None


class UdevSource:
    """A DeviceSource over the disks of this machine, save those that could be nobody's drive.

    Disks that are in use and drives that tell no reliable serial are there as well, each with its
    hindrance. A drive is opened only when the kernel is shown to refuse writes to it, and by one
    opener at a time: the descriptor keeps mounts away for as long as it is open.
    """

    def __init__(
        self, bays: Mapping[str, str], *, loop_devices: bool = False, smartctl: Smartctl | None = None
    ) -> None:
        """``bays``: label of the chassis by ID_PATH. ``loop_devices``: those dressed as drives count."""
        self._bays, self._loop_devices = bays, loop_devices
        self._smartctl = smartctl or Smartctl()
        self._claims = Claims()
        self._examinations: dict[str, asyncio.Task[Health]] = {}
        self._first_seen: dict[str, float] = {}
        self._silent_since: dict[str, float] = {}
        self._opened: set[str] = set()
        self._known: dict[str, DriveFacts] = {}
        self._news = asyncio.Event()

    async def devices(self) -> list[Device]:
        looked = await asyncio.to_thread(self._look, self._opened | self._settled())
        self._forget({one.facts.key for one in looked})
        self._known = {one.facts.key: one.facts for one in looked}
        idle = [one.facts for one in looked if one.user is None and one.facts.is_described]
        claims = await self._claims.ask(facts for facts in idle if facts.key not in self._opened)
        await self._examine([facts for facts in idle if claims.get(facts.key, Claim.FREE) is Claim.FREE])
        shown = [self._device(one, claims.get(one.facts.key, Claim.FREE)) for one in looked]
        return [device for device in shown if device is not None]

    async def changes(self) -> AsyncIterator[None]:
        try:
            with UdevMonitor(self._news.set):
                while True:
                    yield
                    await self._news.wait()
                    await asyncio.sleep(SETTLE_S)
                    self._news.clear()
        finally:
            self._forget(set())

    async def open(self, device: Device) -> int:
        facts = self._known.get(device.key)
        if facts is None or device.hindrance is not None:
            raise _gone(device)
        self._opened.add(device.key)
        opening = in_thread(lambda: self._open(device, facts))
        done, _ = await asyncio.wait({opening}, timeout=OPEN_WITHIN_S)
        if not done:
            opening.add_done_callback(_close_late)
            raise DeviceUnavailable(f"drive {device.serial} in bay {device.bay} does not answer")
        if opening.exception() is not None:
            self._opened.discard(device.key)
        return opening.result()

    async def health(self, device: Device) -> Health:
        facts = self._known.get(device.key)
        return await self._smartctl.ask(facts.node) if facts is not None else unknown("the drive is gone")

    def _settled(self) -> set[str]:
        """Drives of which it is known that nobody wrote to them when they were asked first."""
        return {key for key, asked in self._examinations.items() if asked.done()}

    def _look(self, settled: set[str]) -> list[_Looked]:
        """Asks the kernel, and no drive: not even for its health, while somebody may write to it."""
        found = [facts for facts in disks() if facts.is_candidate(self._loop_devices)]
        return [_Looked(facts, _user(facts, with_writers=facts.key not in settled)) for facts in found]

    def _forget(self, present: set[str]) -> None:
        self._opened &= present
        self._claims.forget(present)
        for key in self._examinations.keys() - present:
            self._examinations.pop(key).cancel()
        for since in (self._first_seen, self._silent_since):
            for key in since.keys() - present:
                del since[key]

    async def _examine(self, found: list[DriveFacts]) -> None:
        fresh = [facts for facts in found if facts.key not in self._examinations]
        for facts in fresh:
            task = asyncio.create_task(self._smartctl.ask(facts.node))
            task.add_done_callback(lambda _: self._news.set())
            self._examinations[facts.key] = task
        if fresh:
            await asyncio.wait([self._examinations[facts.key] for facts in fresh], timeout=EXAMINE_WITHIN_S)

    def _device(self, looked: _Looked, claim: Claim) -> Device | None:
        """None: it is too early to say anything of it."""
        facts = looked.facts
        user = looked.user
        if claim is Claim.CLAIMED:
            user = f"{facts.name} is used by another program"
        if user is not None:
            return self._hindered(facts, HindranceKind.IN_USE, f"is not touched: {user}")
        if not facts.is_described:
            return self._undescribed(facts)
        examination = self._examinations.get(facts.key)
        if claim is Claim.SILENT or examination is None or not examination.done():
            return self._silent(facts)
        self._silent_since.pop(facts.key, None)
        health = examination.result()
        identity = identify(facts, health.identity)
        return self._made(facts, identity, identity.hindrance, health)

    def _undescribed(self, facts: DriveFacts) -> Device | None:
        now = asyncio.get_running_loop().time()
        if now - self._first_seen.setdefault(facts.key, now) < DESCRIBE_WITHIN_S:
            return None
        said = f"({facts.name}) was not described by udev in {DESCRIBE_WITHIN_S:g} s"
        return self._hindered(facts, HindranceKind.NOT_DESCRIBED, said)

    def _silent(self, facts: DriveFacts) -> Device:
        now = asyncio.get_running_loop().time()
        if now - self._silent_since.setdefault(facts.key, now) < SPIN_UP_WITHIN_S:
            said, is_news = "does not answer yet", False
        else:
            said, is_news = f"has not answered for {SPIN_UP_WITHIN_S:g} s", True
        return self._hindered(facts, HindranceKind.NOT_ANSWERING, said, is_news=is_news)

    def _hindered(self, facts: DriveFacts, kind: HindranceKind, said: str, *, is_news: bool = True) -> Device:
        identity = identify(facts, SmartIdentity())
        return self._made(facts, identity, Hindrance(kind, f"drive {identity.serial} {said}", is_news))

    def _made(
        self, facts: DriveFacts, identity: Identity, hindrance: Hindrance | None, health: Health | None = None
    ) -> Device:
        return Device(
            key=facts.key,
            serial=identity.serial,
            bay=bay_of(facts, self._bays),
            size_bytes=facts.size_bytes,
            sector_size=facts.sector_size,
            hindrance=hindrance,
            is_failing=health is not None and health.is_failing,
            controller=controller_of(facts),
        )

    def _open(self, device: Device, facts: DriveFacts) -> int:
        """Each check is made on the open descriptor: until it is closed no other drive gets its number."""
        fd = open_read_only(Path(facts.node), os.O_EXCL)
        try:
            if os.fstat(fd).st_rdev != facts.device_number or device.key not in {one.key for one in disks()}:
                raise _gone(device)
            user = _user(facts, with_writers=True)
            if user is not None:
                raise DeviceUnavailable(f"drive {device.serial} in bay {device.bay} is not touched: {user}")
            changed = protect(fd)
            why = _unprotected(fd, Path(facts.path))
            if why is not None:
                unprotect(fd, changed)
                raise DeviceUnavailable(f"drive {device.serial} in bay {device.bay} is not opened: {why}")
        except BaseException:
            os.close(fd)
            raise
        return fd


def _user(facts: DriveFacts, *, with_writers: bool) -> str | None:
    """Who uses a disk, as the end of a sentence."""
    folder = Path(facts.path)
    user = user_of(folder)
    if user is None and with_writers and (writing := writers(folder)):
        user = f"{', '.join(writing)} has it open to write"
    return user


def _unprotected(fd: int, folder: Path) -> str | None:
    """Why it is not certain that nobody writes to the drive; None when it is."""
    found = look(fd)
    if found is None:
        return "it is no block device"
    if not found.is_proven:
        return f"{found.detail}; the udev rules of this package see to it"
    writing = writers(folder)
    return f"{', '.join(writing)} has it open to write" if writing else None


def _close_late(opening: asyncio.Future[int]) -> None:
    """Nobody waits for the descriptor any more."""
    if opening.exception() is None:
        os.close(opening.result())


def _gone(device: Device) -> DeviceUnavailable:
    return DeviceUnavailable(f"drive {device.serial} is not in bay {device.bay} any more")
