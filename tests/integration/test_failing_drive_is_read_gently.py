"""A drive that SMART calls failing, from its order to the blobs, against one that is read as usual."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.blobs.memory import MemoryBlobStore
from agent.volume.block import BlockSource, BytesSource
from agent.volume.manner import GENTLY, USUAL
from agent.volume.ntfs import NtfsVolume
from tests.kit import images
from tests.kit.faults import FaultySource
from tests.kit.transfer import Drive, Told, ingest

FILM = "\\session-1\\video\\harbour.mp4"


@pytest.fixture
def drive(tmp_path: Path) -> Drive:
    return Drive(images.unpack("demo", tmp_path), tmp_path / "work")


def _place_of_film(drive: Drive, offset: int) -> int:
    entry = NtfsVolume.open(BytesSource(drive.image.read_bytes())).find(FILM)
    assert entry is not None
    start, length = entry.streams[0].extents[0]
    assert start is not None
    assert offset < length
    return start + offset


async def _ingest(drive: Drive, faults: str, start: int, **more: Any) -> tuple[Told, FaultySource]:
    sources: list[FaultySource] = []

    def fault(source: BlockSource) -> BlockSource:
        sources.append(FaultySource(source, faults, 512, start, names_block=False))
        return sources[0]

    told = await ingest(replace(drive, wrap=fault, **more), MemoryBlobStore())
    return told, sources[0]


async def test_it_is_read_in_small_pieces_and_says_so(drive: Drive) -> None:
    told, source = await _ingest(drive, "", 0, gently=True)
    assert told.last["status"] == "Completed"
    assert told.named("opened")[0]["reading"] == GENTLY.sentence
    assert max(length for _, length in source.asked) <= 64 * 1024


async def test_a_sound_drive_is_read_as_ever(drive: Drive) -> None:
    told, source = await _ingest(drive, "", 0)
    assert told.named("opened")[0]["reading"] == USUAL.sentence
    assert max(length for _, length in source.asked) > 64 * 1024


async def test_good_data_comes_first_around_a_bad_place_and_the_same_files_arrive(
    drive: Drive, tmp_path: Path
) -> None:
    where = _place_of_film(drive, 1 << 20)
    faults = "E" * 256
    gentle, source = await _ingest(drive, faults, where, gently=True)
    usual, hard = await _ingest(drive, faults, where, work=tmp_path / "usual")
    assert gentle.last["tally"] == usual.last["tally"]
    assert gentle.last["tally"]["failed"][0] == 1
    (found,), (expected,) = gentle.named("drive.unreadable"), usual.named("drive.unreadable")
    assert found["files"] == expected["files"] == 1
    # What is lost anyway is not asked for to its end.
    assert 0 < found["bytes"] <= expected["bytes"] == 256 * 512
    assert len(source.failed) < len(hard.failed)
    first, *again = [number for number, each in enumerate(source.asked) if each in source.failed]
    # The rest that is easily read comes before the bad place and what lies behind it, on whichever side.
    between = [at for at, _ in source.asked[first + 1 : min(again)]]
    assert between
    assert [at for at in between if where + 64 * 1024 <= at < where + GENTLY.skip_bytes] == []
    further_on = [n for n, (at, _) in enumerate(source.asked) if at >= where + GENTLY.skip_bytes]
    assert max(further_on) < min(again)
