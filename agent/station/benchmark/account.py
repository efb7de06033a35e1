"""Measures the way to the account: what goes up, by the transport of the station, is removed again."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.blobs.crc64 import crc64
from agent.blobs.opening import check_store, open_store
from agent.blobs.remover import Remover, open_remover
from agent.blobs.rules import body_length
from agent.blobs.sas import Signature, is_signature
from agent.blobs.store import NO_ATTRIBUTES, BlobStore, Body, NewBlob
from agent.blobs.traffic import traffic_of
from agent.config import Settings, StoreSettings
from agent.errors import ConfigInvalid, IngestError, StateUnusable, StoreRefused
from agent.model.identity import ContainerName, JobName
from agent.station.benchmark.figures import AccountFigures, Round, Trouble
from agent.station.benchmark.scratch import Scratch
from agent.station.benchmark.stopping import unless_stopped
from agent.station.caps import CapKeeper
from agent.transfer.board import Board
from agent.transfer.gauge import Gauge
from agent.transfer.hashing import crc64_of
from agent.transfer.pace import Pace
from agent.transfer.patience import Patience
from agent.transfer.ring import SLOT_BYTES
from agent.transfer.sender import Sender

WIDER = (1, 2, 4)
"""Rounds: the connections of one drive, of two and of four."""
SMALL, PILOT = 0.2, 0.1
"""Shares of the time: small blobs; and of the rest, the round that is only to learn from."""
OVERTIME = 1.5
"""What is under way when a round is over may take half of its time again."""
SMALL_BYTES = 16 * 1024
TOGETHER = 32
"""Small blobs in a row (``agent.transfer.mover``)."""
MOST_SMALL, MOST_SMALL_IN_FOLDER = 20_000, 1_000
"""A container goes with all that is in it; from a folder each is removed by itself."""
GIVE_UP_AFTER_S = 5.0
LOOK_EVERY_S = 0.1
ANOTHER_CREDENTIAL = (
    "Name one that may in INGEST_AGENT_STORE_CREDENTIAL_FILE for this command, "
    "or measure the rest: --only drive --only cpu."
)
NO_DELETE = "the store's SAS does not permit to delete (d), so nothing is put"
MAY_NOT = (
    "Let the store's credential make and remove containers, or name one with --container in which it may "
    "put and remove blobs (rwd)."
)


class _NoReads:
    """Nothing is read from a drive."""

    filling = 0


async def measure_account(
    settings: Settings,
    seconds: float,
    most_bytes: int,
    stop: asyncio.Event,
    container: ContainerName | None = None,
    told: Callable[[str], None] = lambda what: None,
    give_up_after_s: float = GIVE_UP_AFTER_S,
) -> AccountFigures:
    """For about so many seconds, at most so many bytes, or until ``stop``; ``settings`` has the credential.

    What it puts goes into a container of its own, or into a folder of ``container``. Nothing is put
    unless it is shown before that it can be removed. What failed is in the troubles.
    """
    store = settings.store
    is_encrypted = store.kind == "azure" and store.address.startswith("https://")
    try:
        _check(store)
        async with _opened(settings, container, give_up_after_s) as opened:
            work = _Measurement(settings, opened, most_bytes, stop, told)
            try:
                await work.run(seconds)
            finally:
                left, why = await opened.scratch.close()
    except IngestError as error:
        trouble = Trouble.of("account", error)
        if error.detail == NO_DELETE:
            trouble = replace(trouble, next_step=ANOTHER_CREDENTIAL)
        return AccountFigures(store.address, is_encrypted, troubles=(trouble,))
    troubles = list(work.troubles)
    if why is not None:
        troubles.append(Trouble.of(f"not removed: {left}", why))
    return AccountFigures(
        store.address,
        is_encrypted,
        tuple(work.rounds),
        work.blobs_per_s,
        work.round_trip_s,
        work.bytes_put,
        work.blobs_put,
        work.throttled_requests,
        left,
        tuple(troubles),
    )


def _check(store: StoreSettings) -> None:
    """What is known to fail is not begun. Raises ConfigInvalid and StateUnusable."""
    check_store(store.kind, store.address, store.credential, store.identity)
    if store.kind == "directory":
        _check_owner(Path(store.address))
    elif store.credential is not None and is_signature(store.credential.reveal()):
        permissions = Signature.parse(store.credential.reveal()).permissions
        if permissions is not None and "d" not in permissions:
            raise ConfigInvalid(NO_DELETE)


def _check_owner(root: Path) -> None:
    """What one user makes in a folder of another, that one could not use."""
    there = next((place for place in (root, *root.absolute().parents) if place.exists()), Path("/"))
    owner = there.stat().st_uid
    if owner != os.geteuid():
        raise StateUnusable(
            f"{there}, where blobs go, belongs to user {owner}: run this as that user, as with runuser -u"
        )


@dataclass(frozen=True, slots=True)
class _Opened:
    store: BlobStore
    scratch: Scratch


@asynccontextmanager
async def _opened(
    settings: Settings, container: ContainerName | None, give_up_after_s: float
) -> AsyncIterator[_Opened]:
    told = settings.store
    remover: Remover = open_remover(told.kind, told.address, told.credential, identity=told.identity)
    try:
        most = settings.transfer.connections * max(WIDER)
        store = open_store(told.kind, told.address, told.credential, identity=told.identity, connections=most)
        try:
            yield _Opened(store, Scratch(store, remover, container, give_up_after_s))
        finally:
            await store.close()
    finally:
        await remover.close()


class _Measurement:
    """The rounds, and what came of them."""

    def __init__(
        self,
        settings: Settings,
        opened: _Opened,
        most_bytes: int,
        stop: asyncio.Event,
        told: Callable[[str], None],
    ) -> None:
        self._settings, self._stop, self._told = settings, stop, told
        self._store, self._scratch = opened.store, opened.scratch
        self._most_bytes = most_bytes
        self._slot = memoryview(os.urandom(SLOT_BYTES))
        self._board = Board()
        CapKeeper(self._board, JobName.parse("bench")).keep(settings)
        self.rounds: list[Round] = []
        self.troubles: list[Trouble] = []
        self.blobs_per_s = self.round_trip_s = 0.0
        self.bytes_put = self.blobs_put = self.throttled_requests = 0

    async def run(self, seconds: float) -> None:
        """Until the time, the bytes or the wish for it are over; an error of the store ends it."""
        try:
            self._told(f"account: {self._scratch.where}")
            await unless_stopped(self._scratch.open(), self._stop)
            await self._small(seconds * SMALL)
            await self._blocks(seconds * (1 - SMALL))
        except IngestError as error:
            if not self._stop.is_set():
                self.troubles.append(self._trouble(error))

    def _trouble(self, error: IngestError) -> Trouble:
        found = Trouble.of("account", error)
        if isinstance(error, StoreRefused) and self._scratch.is_own and not self.rounds:
            found = replace(found, next_step=MAY_NOT)
        return found

    def _pace(self, connections: int) -> tuple[Pace, Patience]:
        account = self._settings.store.address
        pace = Pace(
            self._board, self._stop, account=account, job="bench", drive="bench", connections=connections
        )
        return pace, Patience(GIVE_UP_AFTER_S, self._stop, pace=pace)

    async def _blocks(self, seconds: float) -> None:
        """A short round tells how long blocks may be on this line, for some to arrive in each other round."""
        connections = self._settings.transfer.connections
        pilot = await self._round("0", connections, seconds * PILOT, self._most_bytes // 16, SLOT_BYTES)
        each_s = seconds * (1 - PILOT) / len(WIDER)
        for number, wider in enumerate(WIDER):
            at_once = connections * wider
            left = (self._most_bytes - self.bytes_put) // (len(WIDER) - number)
            arriving = int(pilot.bytes_per_s * each_s) if pilot is not None else 0
            length = min(self._settings.transfer.block_bytes, arriving // (4 * at_once), left // at_once)
            length = max(SLOT_BYTES, length // SLOT_BYTES * SLOT_BYTES)
            found = await self._round(str(number + 1), at_once, each_s, left, length)
            if found is not None:
                self.rounds.append(found)

    async def _round(
        self, path: str, connections: int, seconds: float, most_bytes: int, block_bytes: int
    ) -> Round | None:
        """So many at once; what is under way at the end may end. None when nothing was sent."""
        if self._stop.is_set() or most_bytes < block_bytes:
            return None
        self._told(f"account: blocks of {block_bytes >> 10} KiB, {connections} at once")
        pace, patience = self._pace(connections)
        gauge = Gauge(_NoReads(), self._store, pace, patience, connections)
        looking = asyncio.create_task(self._look(gauge))
        begun, cpu_s = time.monotonic(), time.process_time()
        sent = _Sent(most_bytes, begun + seconds)
        block = [self._slot] * (block_bytes // SLOT_BYTES)
        try:
            lanes = (self._lane(f"{path}/{lane}", patience, sent, block) for lane in range(connections))
            await unless_stopped(_all(lanes, seconds * OVERTIME), self._stop)
        finally:
            looking.cancel()
            self.throttled_requests += patience.throttled_requests
            self.bytes_put += sent.bytes
        if not sent.bytes:
            return None
        cpu_s = time.process_time() - cpu_s
        return Round(connections, sent.bytes, sent.last_at - begun, cpu_s, gauge.named)

    async def _lane(self, path: str, patience: Patience, sent: _Sent, block: Body) -> None:
        """Blocks of one blob, one after the other; and the blob of them."""
        name, block_bytes = self._scratch.name(path, staged=True), body_length(block)
        ids: list[str] = []
        while time.monotonic() < sent.until and sent.take(block_bytes):
            block_id = base64.b64encode(b"%08d" % len(ids)).decode("ascii")
            crc = await crc64_of(block)

            async def put(block_id: str = block_id, crc: int = crc) -> None:
                await self._store.put_block(name, block_id, block, crc)

            await patience.call(put, block_bytes, is_repeatable=True)
            ids.append(block_id)
            sent.add(block_bytes)
        if ids:
            await patience.call(lambda: self._store.put_block_list(name, ids, NO_ATTRIBUTES, replace=True))
        self._scratch.committed(name)

    async def _look(self, gauge: Gauge) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            gauge.look()
            seen = traffic_of(self._store)
            if seen is not None and seen.round_trip_s:
                self.round_trip_s = min(self.round_trip_s or seen.round_trip_s, seen.round_trip_s)

    async def _small(self, seconds: float) -> None:
        """As small files go: many in a row, over each of a drive's connections."""
        connections = self._settings.transfer.connections
        most = MOST_SMALL if self._scratch.is_own else MOST_SMALL_IN_FOLDER
        most = min(most, self._most_bytes // 8 // SMALL_BYTES)
        if self._stop.is_set():
            return
        self._told("account: small blobs")
        _, patience = self._pace(connections)
        sender = Sender(self._store, patience, connections)
        body = [memoryview(os.urandom(SMALL_BYTES))]
        sent, begun = _Sent(most, time.monotonic() + seconds), time.monotonic()
        lanes = (self._small_lane(lane, sender, patience, body, sent) for lane in range(connections))
        await unless_stopped(_all(lanes, seconds * OVERTIME), self._stop)
        self.blobs_put += sent.bytes
        self.bytes_put += sent.bytes * SMALL_BYTES
        self.throttled_requests += patience.throttled_requests
        if sent.bytes:
            self.blobs_per_s = sent.bytes / max(sent.last_at - begun, 1e-6)

    async def _small_lane(
        self, lane: int, sender: Sender, patience: Patience, body: Body, sent: _Sent
    ) -> None:
        crc, count = crc64(body), 0
        while time.monotonic() < sent.until and sent.take(TOGETHER):
            names = [self._scratch.name(f"s/{lane}/{count + number}") for number in range(TOGETHER)]
            blobs = [NewBlob(name, body, crc, NO_ATTRIBUTES) for name in names]
            done = await sender.put_together(blobs, lambda: time.monotonic() < sent.until)
            sent.add(done)
            count += TOGETHER
            if done < TOGETHER and time.monotonic() < sent.until:
                # The port tells what hindered it only of one that is put alone.
                hindered = names[done]
                await patience.call(
                    lambda name=hindered: self._store.put_blob(  # type: ignore[misc]
                        name, body, crc, NO_ATTRIBUTES, replace=True
                    ),
                    SMALL_BYTES,
                )
                sent.add(1)


class _Sent:
    """What a round's lanes have sent, of at most so much and until then."""

    def __init__(self, most: int, until: float) -> None:
        self._left, self.until = most, until
        self.bytes, self.last_at = 0, 0.0

    def take(self, count: int) -> bool:
        """Whether there is as much left to be sent."""
        if self._left < count:
            return False
        self._left -= count
        return True

    def add(self, count: int) -> None:
        """So much was sent."""
        self.bytes, self.last_at = self.bytes + count, time.monotonic()


async def _all(lanes: Iterable[Coroutine[Any, Any, None]], within_s: float) -> None:
    """All to their end, or to that of the time; raises the first trouble of one."""
    with suppress(TimeoutError):
        try:
            async with asyncio.timeout(within_s), asyncio.TaskGroup() as group:
                for lane in lanes:
                    group.create_task(lane)
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
