"""Dispositions are decided by the store's conditions, and a lost reply is made up for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from agent.blobs.crc64 import crc64
from agent.blobs.faults import Call, FaultyBlobStore
from agent.blobs.memory import MemoryBlobStore
from agent.blobs.store import NO_ATTRIBUTES, BlobProperties, BlobStore, NewBlob, Replace
from agent.errors import BlobAlreadyExists, BlobRequestFailed
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.codes import Disposition, DispositionStatus
from agent.model.identity import ContainerName
from agent.transfer import patience, sender
from agent.transfer.pace import Pace
from agent.transfer.patience import Patience
from agent.transfer.sender import MARKER_KEY, MAX_LOOKS, MAX_RENAMES, NoFreeName, Placed, Sender, Target

BODY = b"our bytes"
THEIRS = b"not ours."


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)


def _target(disposition: Disposition, name: str = "box/a.txt") -> Target:
    attributes = BlobAttributes(metadata={MARKER_KEY: "00ff"})
    return Target(BlobName.parse(name), disposition, attributes, "00ff", len(BODY))


def _sender(store: BlobStore) -> Sender:
    return Sender(store, Patience(5, asyncio.Event()), 4)


async def _put_theirs(store: BlobStore, *names: str) -> None:
    for text in names:
        name = BlobName.parse(text)
        await store.ensure_container(name.container)
        await store.put_blob(name, [memoryview(THEIRS)], crc64([THEIRS]), NO_ATTRIBUTES, replace=True)


async def _put(store: BlobStore, target: Target) -> Placed:
    return await _sender(store).put_whole(target, [memoryview(BODY)], crc64([BODY]))


async def _content(store: BlobStore, name: str) -> bytes:
    return b"".join([part async for part in store.read(BlobName.parse(name))])


@pytest.mark.parametrize("disposition", Disposition)
async def test_a_free_name_is_taken(disposition: Disposition) -> None:
    store = MemoryBlobStore()
    placed = await _put(store, _target(disposition))
    assert placed == Placed(BlobName.parse("box/a.txt"), DispositionStatus.CREATED)
    assert await _content(store, "box/a.txt") == BODY


async def test_no_overwrite_leaves_the_other_blob_alone() -> None:
    store = MemoryBlobStore()
    await _put_theirs(store, "box/a.txt")
    placed = await _put(store, _target(Disposition.NO_OVERWRITE))
    assert placed.status is DispositionStatus.SKIPPED
    assert await _content(store, "box/a.txt") == THEIRS


async def test_overwrite_replaces_and_says_so() -> None:
    store = MemoryBlobStore()
    await _put_theirs(store, "box/a.txt")
    placed = await _put(store, _target(Disposition.OVERWRITE))
    assert placed.status is DispositionStatus.OVERWRITTEN
    assert await _content(store, "box/a.txt") == BODY


class Contested(MemoryBlobStore):
    """Somebody else writes to the blob each time that it was looked at, ``times`` times."""

    def __init__(self, times: int, *, as_pages: bool = False) -> None:
        super().__init__()
        self._times, self._as_pages = times, as_pages

    async def properties(self, name: BlobName) -> BlobProperties:
        """What was there before he wrote."""
        found = await super().properties(name)
        if self._times:
            self._times -= 1
            if self._as_pages:
                await self.create_page_blob(name, 512, NO_ATTRIBUTES, replace=True)
            else:
                await _put_theirs(self, str(name))
        return found


async def test_a_blob_that_somebody_changes_after_our_look_is_looked_at_again() -> None:
    store = Contested(MAX_LOOKS - 1)
    await _put_theirs(store, "box/a.txt")
    placed = await _put(store, _target(Disposition.OVERWRITE))
    assert placed.status is DispositionStatus.OVERWRITTEN
    assert await _content(store, "box/a.txt") == BODY


async def test_a_blob_that_somebody_never_leaves_alone_fails_and_is_left_to_him() -> None:
    store = Contested(MAX_LOOKS)
    await _put_theirs(store, "box/a.txt")
    with pytest.raises(BlobRequestFailed, match="each time"):
        await _put(store, _target(Disposition.OVERWRITE))
    assert await _content(store, "box/a.txt") == THEIRS


async def test_a_page_blob_replaces_what_somebody_put_after_our_look() -> None:
    store, target = Contested(2, as_pages=True), _target(Disposition.OVERWRITE)._replace(length=1024)
    await _put_theirs(store, "box/a.txt")
    placed = await _sender(store).create_pages(target)
    assert placed.status is DispositionStatus.OVERWRITTEN
    assert await _content(store, "box/a.txt") == bytes(1024)


async def test_a_page_blob_gets_its_hashes_when_its_pages_are_written() -> None:
    store, target = MemoryBlobStore(), _target(Disposition.NO_OVERWRITE)._replace(length=512)
    target = target._replace(attributes=replace(target.attributes, content_md5=b"\1" * 16))
    sender = _sender(store)
    placed = await sender.create_pages(target)
    assert (await store.properties(placed.name)).attributes.content_md5 is None
    await sender.put_page(placed.name, 0, [memoryview(bytes(512))], crc64([bytes(512)]))
    for _ in range(2):
        assert await sender.describe(target, placed.name)
        assert (await store.properties(placed.name)).attributes == replace(
            target.attributes, content_type="application/octet-stream"
        )


@pytest.mark.parametrize("fault", ["L", "U"])
async def test_a_reply_to_the_hashes_that_is_lost_is_made_up_for(fault: str) -> None:
    inner, lost = MemoryBlobStore(), list[Call]()

    def once(call: Call) -> str:
        if call.operation != "set_attributes" or lost:
            return "."
        lost.append(call)
        return fault

    target = _target(Disposition.NO_OVERWRITE)._replace(length=512)
    sender = _sender(FaultyBlobStore(inner, once))
    placed = await sender.create_pages(target)
    hashed = target._replace(attributes=replace(target.attributes, content_md5=b"\1" * 16))
    assert await sender.describe(hashed, placed.name)
    assert lost
    assert (await inner.properties(placed.name)).attributes.content_md5 == b"\1" * 16


async def test_a_page_blob_that_somebody_replaced_meanwhile_is_not_called_ours() -> None:
    store, target = MemoryBlobStore(), _target(Disposition.OVERWRITE)._replace(length=512)
    sender = _sender(store)
    placed = await sender.create_pages(target)
    await _put_theirs(store, "box/a.txt")
    assert not await sender.describe(target, placed.name)
    assert await _content(store, "box/a.txt") == THEIRS


async def test_a_commit_over_what_somebody_changed_since_stages_its_blocks_anew() -> None:
    store, target = MemoryBlobStore(), _target(Disposition.OVERWRITE)
    await _put_theirs(store, "box/a.txt")
    sender = _sender(store)
    placed = await sender.choose(target)
    for is_committed in (False, True):
        await sender.put_block(placed.name, "AAAA", [memoryview(BODY)], crc64([BODY]))
        if not is_committed:
            # Which sweeps away what is staged.
            await _put_theirs(store, "box/a.txt")
        assert await sender.commit(target, placed.name, ["AAAA"]) is is_committed
    assert await _content(store, "box/a.txt") == BODY


async def test_a_refused_commit_whose_blocks_are_there_is_an_error() -> None:
    inner = MemoryBlobStore()
    store = FaultyBlobStore(inner, lambda call: "X" if call.operation == "put_block_list" else ".")
    sender, target = _sender(store), _target(Disposition.OVERWRITE)
    placed = await sender.choose(target)
    await sender.put_block(placed.name, "AAAA", [memoryview(BODY)], crc64([BODY]))
    with pytest.raises(BlobRequestFailed):
        await sender.commit(target, placed.name, ["AAAA"])


async def test_a_commit_that_arrives_late_replaces_nothing_of_what_came_after_it() -> None:
    store, target = MemoryBlobStore(), _target(Disposition.OVERWRITE)
    await _put_theirs(store, "box/a.txt")
    sent: list[Replace] = []

    class Seen(FaultyBlobStore):
        async def put_block_list(
            self, name: BlobName, ids: Sequence[str], attributes: BlobAttributes, *, replace: Replace
        ) -> None:
            sent.append(replace)
            await super().put_block_list(name, ids, attributes, replace=replace)

    sender = _sender(Seen(store))
    placed = await sender.choose(target)
    await sender.put_block(placed.name, "AAAA", [memoryview(BODY)], crc64([BODY]))
    assert await sender.commit(target, placed.name, ["AAAA"])
    # Somebody's blob of a block that has the same id.
    await store.put_block(placed.name, "AAAA", [memoryview(THEIRS)], crc64([THEIRS]))
    await store.put_block_list(placed.name, ["AAAA"], NO_ATTRIBUTES, replace=True)
    with pytest.raises(BlobAlreadyExists):
        await store.put_block_list(placed.name, ["AAAA", "AAAA"], NO_ATTRIBUTES, replace=sent[0])
    assert await _content(store, "box/a.txt") == THEIRS


async def test_rename_takes_the_next_free_name() -> None:
    store = MemoryBlobStore()
    await _put_theirs(store, "box/a.txt", "box/a (2).txt")
    placed = await _put(store, _target(Disposition.RENAME))
    assert placed == Placed(BlobName.parse("box/a (3).txt"), DispositionStatus.RENAMED)
    assert await _content(store, "box/a.txt") == THEIRS


@pytest.mark.parametrize("disposition", Disposition)
async def test_a_lost_reply_does_not_make_a_second_blob_or_a_false_skip(disposition: Disposition) -> None:
    inner = MemoryBlobStore()
    lost: list[Call] = []

    def first_put(call: Call) -> str:
        if call.operation != "put_blob" or lost:
            return "."
        lost.append(call)
        return "L"

    placed = await _put(FaultyBlobStore(inner, first_put), _target(disposition))
    assert lost
    assert placed.name == BlobName.parse("box/a.txt")
    assert placed.status in (DispositionStatus.CREATED, DispositionStatus.OVERWRITTEN)
    assert [str(name) async for name in inner.names(placed.name.container)] == ["box/a.txt"]


async def test_a_blob_of_our_marker_and_another_length_is_not_taken_for_ours() -> None:
    store = MemoryBlobStore()
    await _put(store, _target(Disposition.NO_OVERWRITE)._replace(length=len(BODY)))
    placed = await _put(store, _target(Disposition.NO_OVERWRITE)._replace(length=len(BODY) + 1))
    assert placed.status is DispositionStatus.SKIPPED


async def test_when_no_name_is_free_it_says_so() -> None:
    store = MemoryBlobStore()
    names = ["box/a.txt", *(f"box/a ({n}).txt" for n in range(2, MAX_RENAMES + 1))]
    await _put_theirs(store, *names)
    with pytest.raises(NoFreeName):
        await _put(store, _target(Disposition.RENAME))


async def test_a_block_blob_lost_to_another_at_commit_is_not_claimed() -> None:
    store = MemoryBlobStore()
    sender, target = _sender(store), _target(Disposition.NO_OVERWRITE)
    placed = await sender.choose(target)
    assert placed.status is DispositionStatus.CREATED
    await sender.put_block(placed.name, "AAAA", [memoryview(BODY)], crc64([BODY]))
    await _put_theirs(store, "box/a.txt")
    assert not await sender.commit(target, placed.name, ["AAAA"])
    assert await _content(store, "box/a.txt") == THEIRS


async def test_a_commit_whose_reply_was_lost_counts_as_done() -> None:
    inner = MemoryBlobStore()

    def lose(call: Call) -> str:
        return "L" if call.operation == "put_block_list" else "."

    seen = []

    def once(call: Call) -> str:
        letter = lose(call) if not seen else "."
        if letter == "L":
            seen.append(call)
        return letter

    sender, target = _sender(FaultyBlobStore(inner, once)), _target(Disposition.NO_OVERWRITE)
    placed = await sender.choose(target)
    await sender.put_block(placed.name, "AAAA", [memoryview(BODY)], crc64([BODY]))
    assert await sender.commit(target, placed.name, ["AAAA"])
    assert seen
    assert (await sender.choose(target)).is_there


def _dozen() -> list[NewBlob]:
    attributes = BlobAttributes(metadata={MARKER_KEY: "00ff"})
    names = [BlobName.parse(f"box/{number:02}") for number in range(12)]
    return [NewBlob(name, [memoryview(BODY)], crc64([BODY]), attributes) for name in names]


async def test_small_blobs_are_put_together() -> None:
    store = MemoryBlobStore()
    assert await _sender(store).put_together(_dozen(), lambda: True) == 12
    assert [await _content(store, f"box/{number:02}") for number in range(12)] == [BODY] * 12


@pytest.mark.parametrize("fault", "UTRCPX")
async def test_whatever_hinders_one_of_them_is_left_to_those_who_send_it_alone(fault: str) -> None:
    store = FaultyBlobStore(MemoryBlobStore(), lambda call: fault if call.subject == "box/07" else ".")
    assert await _sender(store).put_together(_dozen(), lambda: True) == 7


async def test_none_of_them_goes_over_another_blob() -> None:
    store = MemoryBlobStore()
    await _put_theirs(store, "box/03")
    assert await _sender(store).put_together(_dozen(), lambda: True) == 3
    assert await _content(store, "box/03") == THEIRS


async def test_no_more_of_them_are_put_when_they_are_not_wanted() -> None:
    wishes = iter([True] * 5 + [False])
    assert await _sender(MemoryBlobStore()).put_together(_dozen(), lambda: next(wishes)) == 5


async def test_when_they_hang_they_are_cut_and_none_counts_as_put(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(MemoryBlobStore):
        async def put_blobs(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
            await asyncio.Event().wait()
            return 0

    monkeypatch.setattr(sender, "TOGETHER_S", 0.01)
    monkeypatch.setattr(sender, "LAST_OF_THEM_S", 0.01)
    patience = Patience(5, asyncio.Event())
    assert await Sender(Hanging(), patience, 4).put_together(_dozen(), lambda: True) == 0
    assert patience.cut_requests == 1


async def test_their_time_begins_with_their_turn_and_not_while_they_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pace = Pace.alone(asyncio.Event())
    begin = pace.begin

    async def slow_turn(body_bytes: int) -> float:
        if body_bytes:
            await asyncio.sleep(0.3)
        return await begin(body_bytes)

    monkeypatch.setattr(sender, "TOGETHER_S", 0.2)
    monkeypatch.setattr(pace, "begin", slow_turn)
    patience = Patience(5, asyncio.Event(), pace=pace)
    assert await Sender(MemoryBlobStore(), patience, 4).put_together(_dozen(), lambda: True) == 12


async def test_a_container_that_is_refused_is_left_to_those_who_send_them_alone() -> None:
    class BeingDeleted(MemoryBlobStore):
        async def ensure_container(self, container: ContainerName) -> None:
            raise BlobRequestFailed(f"{container}: the store answered 409 ContainerBeingDeleted")

    sender = _sender(BeingDeleted())
    assert await sender.put_together(_dozen(), lambda: True) == 0
    with pytest.raises(BlobRequestFailed, match="ContainerBeingDeleted"):
        await sender.put_whole(_target(Disposition.RENAME), [memoryview(BODY)], crc64([BODY]))
