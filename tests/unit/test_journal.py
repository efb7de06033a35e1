"""The journal of one drive."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

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
from agent.model.verification import Depth, Verdict, Verified
from agent.transfer.items import NO_FACTS, FileFacts, Item, ItemState, Outcome, Piece, SideFiles
from agent.transfer.journal import Journal, is_damage
from agent.volume.ntfs import StreamKind, StreamRef

IDENTITY = {"job": "job", "serial": "S1", "volume": "00FF"}


def _stream(offset: int, size: int = 10) -> StreamRef:
    return StreamRef.from_json([5, 1, "", "plain", size, size, 0, [offset, 4096], None, offset, 0])


def _item(seq: int, offset: int = 0, *, blob: str | None = None, path: str = "\\a", **more: object) -> Item:
    values = {
        "seq": seq,
        "file_path": path,
        "blob": blob or f"box/{seq}",
        "type": BlobType.BLOCK,
        "length": 10,
        "disposition": Disposition.NO_OVERWRITE,
        "stream": _stream(offset),
    }
    return Item(**(values | more))  # type: ignore[arg-type]


def _done(seq: int) -> Outcome:
    return Outcome(seq, ItemState.DONE, BlobStatus.COMPLETED, DispositionStatus.CREATED, f"box/{seq}")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "j" / "journal.sqlite", IDENTITY)


def test_pending_items_come_in_the_order_in_which_they_lie_on_the_drive(journal: Journal) -> None:
    journal.add([(_item(seq, offset), None) for seq, offset in enumerate([8192, 0, 4096])])
    assert [item.seq for item in journal.pending()] == [1, 2, 0]
    assert [item.seq for item in journal.pending(after=(0, 1))] == [2, 0]


def test_a_page_holds_few_files_that_lie_in_very_many_pieces(journal: Journal) -> None:
    flat = [number for at in range(15_000) for number in (at * 8192, 4096)]
    streams = [
        StreamRef.from_json(
            [5, 1, "", "plain", 10, 10, 0, [seq * 4096, 4096, *flat[2:]], None, seq * 4096, 0]
        )
        for seq in range(5)
    ]
    journal.add([(_item(seq, stream=stream), None) for seq, stream in enumerate(streams)])
    first = journal.pending()
    assert [item.seq for item in first] == [0, 1]
    assert [item.seq for item in journal.pending(after=(4096, 1))] == [2, 3]
    journal.record([_done(seq) for seq in range(5)])
    assert [item.seq for item, _ in journal.outcomes()] == [0, 1, 2, 3, 4]


def test_an_item_comes_back_as_it_was(journal: Journal) -> None:
    pieces = (Piece(0, 0, 6, "AAAA", b"\1" * 16), Piece(1, 6, 4, "BBBB", b"\2" * 16))
    item = _item(
        3,
        path="\\a\ud800\x01 %41",
        pieces=pieces,
        side=SideFiles(1, None, 2, 3),
        facts=FileFacts(7, 8, 9, 0x20),
    )
    journal.add([(item, None)])
    assert journal.pending() == [item]


def test_an_outcome_comes_back_as_it_was_in_the_order_of_the_manifest(journal: Journal) -> None:
    outcome = Outcome(
        0,
        ItemState.FAILED,
        BlobStatus.COMPLETED_WITH_ERRORS,
        DispositionStatus.CANCELLED,
        "box/0",
        "a note",
        {1: ChunkStatus.CORRUPTED},
        SideFileStatus.COMPLETED,
        SideFileStatus.FILE_NOT_FOUND,
        Verified(Depth.READBACK, Verdict.DIFFER, (1 << 64) - 1, b"\1" * 16, b"\2" * 32),
    )
    journal.add([(_item(0, 9999), None), (_item(1, 0), _done(1))])
    journal.record([outcome])
    assert [found for _, found in journal.outcomes()] == [outcome, _done(1)]
    assert journal.pending() == []


def test_more_than_a_page_of_items_is_all_told(journal: Journal) -> None:
    journal.add([(_item(seq), _done(seq)) for seq in range(1001)])
    assert [item.seq for item, _ in journal.outcomes()] == list(range(1001))


def test_the_tally_is_counted_in_files_and_bytes(journal: Journal) -> None:
    journal.add([(_item(0), _done(0)), (_item(1), None)])
    assert journal.tally() == Tally(discovered=Count(2, 20), done=Count(1, 10))
    journal.close_pending(ItemState.SKIPPED, BlobStatus.FAILED, "cancelled")
    tally = journal.tally()
    assert tally.balances
    assert tally.skipped == Count(1, 10)


def test_two_files_for_one_blob_are_settled_before_a_byte_moves(journal: Journal) -> None:
    journal.add(
        [(_item(0, blob="box/a"), None), (_item(1, blob="box/a"), None), (_item(2, blob="box/b"), None)]
    )
    journal.finish_inventory()
    assert [item.seq for item in journal.pending()] == [0, 2]
    assert journal.tally().failed.files == 1


def test_two_files_for_one_blob_are_no_conflict_where_they_are_renamed(journal: Journal) -> None:
    journal.add([(_item(seq, blob="box/a", disposition=Disposition.RENAME), None) for seq in (0, 1)])
    journal.finish_inventory()
    assert len(journal.pending()) == 2


def test_it_is_found_again_for_the_same_drive_and_forgotten_for_another(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    first = Journal(path, IDENTITY)
    first.add([(_item(0), _done(0))])
    first.finish_inventory()
    first.close()
    again = Journal(path, IDENTITY)
    assert again.is_complete
    assert again.tally().done.files == 1
    again.close()
    other = Journal(path, IDENTITY | {"volume": "1111"})
    assert not other.is_complete
    assert other.tally() == Tally()


def test_an_inventory_that_was_cut_short_is_begun_anew(journal: Journal) -> None:
    journal.add([(_item(0), None)])
    assert not journal.is_complete
    journal.begin_inventory()
    assert journal.tally() == Tally()


def test_a_file_that_is_no_journal_is_replaced_for_it_is_a_cache(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"no database at all, " * 100)
    assert Journal(path, IDENTITY).tally() == Tally()


def test_a_journal_of_another_schema_is_replaced_for_it_is_a_cache(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        db.execute("CREATE TABLE item (seq INTEGER PRIMARY KEY, state TEXT)")
        db.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [*IDENTITY.items(), ("schema", "2"), ("inventory", "complete")],
        )
    db.close()
    journal = Journal(path, IDENTITY)
    assert not journal.is_complete
    journal.add([(_item(0), None)])
    assert journal.tally().discovered.files == 1


STREAMS = {
    "resident": StreamRef(5, 1, "", StreamKind.RESIDENT, 7, 7, 0, (), None, 1024),
    "empty": StreamRef(5, 1, "", StreamKind.RESIDENT, 0, 0, 0, (), None, 1024),
    "large": StreamRef(
        (1 << 48) - 1, 65535, "", StreamKind.PLAIN, 1 << 62, 5, 0, ((4096, 1 << 62),), None, 4096
    ),
    "named": StreamRef(5, 1, "ads", StreamKind.PLAIN, 10, 10, 0, ((4096, 4096),), None, 4096),
    "of two extents": StreamRef(
        5, 1, "", StreamKind.PLAIN, 8192, 8192, 0, ((8192, 4096), (4096, 4096)), None, 8192
    ),
    "with a hole": StreamRef(
        5, 1, "", StreamKind.SPARSE, 8192, 8192, 0, ((None, 4096), (4096, 4096)), None, 512
    ),
    "compressed": StreamRef(
        5, 1, "", StreamKind.COMPRESSED, 10, 10, 65536, ((4096, 4096), (None, 61440)), None, 4096
    ),
    "unsupported": StreamRef(5, 1, "", StreamKind.PLAIN, 10, 10, 0, (), "it is encrypted", 512),
    "elsewhere first": StreamRef(5, 1, "", StreamKind.PLAIN, 10, 10, 0, ((4096, 4096),), None, 512),
}


@pytest.mark.parametrize("stream", [*STREAMS.values(), None], ids=[*STREAMS, "none"])
@pytest.mark.parametrize("facts", [NO_FACTS, FileFacts((1 << 63) - 1, 1, 2, 0xFFFF_FFFF)])
@pytest.mark.parametrize("side", [SideFiles(), SideFiles(properties=7)])
def test_every_kind_of_stream_comes_back_as_it_was(
    journal: Journal, stream: StreamRef | None, facts: FileFacts, side: SideFiles
) -> None:
    item = _item(0, stream=stream, facts=facts, side=side)
    journal.add([(item, None)])
    assert journal.pending() == [item]


def test_pages_follow_each_other_whatever_the_disposition(journal: Journal) -> None:
    kinds = [Disposition.OVERWRITE, Disposition.NO_OVERWRITE, Disposition.RENAME]
    journal.add([(_item(seq, seq * 4096, disposition=kinds[seq % 3]), None) for seq in range(1500)])
    seen, after = [], (-1, -1)
    while page := journal.pending(after):
        assert page[-1].stream is not None
        seen += [item.seq for item in page]
        after = page[-1].stream.first_offset, page[-1].seq
    assert seen == list(range(1500))
    overwriting = journal.pending(overwriting=True)
    assert {item.disposition for item in overwriting} == {Disposition.OVERWRITE}
    assert [item.seq for item in journal.pending(overwriting=False)][:2] == [1, 2]


def test_an_outcome_that_is_told_again_replaces_the_one_before(journal: Journal) -> None:
    journal.add([(_item(0), None)])
    journal.record([_done(0)])
    again = Outcome(
        0, ItemState.FAILED, BlobStatus.LEASE_PRESENT, DispositionStatus.CANCELLED, "box/0", "a lease"
    )
    journal.record([again])
    assert [found for _, found in journal.outcomes()] == [again]
    assert journal.tally() == Tally(discovered=Count(1, 10), failed=Count(1, 10))


def test_the_blob_of_an_outcome_is_told_even_where_it_is_another_one(journal: Journal) -> None:
    renamed = Outcome(0, ItemState.DONE, BlobStatus.COMPLETED, DispositionStatus.RENAMED, "box/0 (2)")
    journal.add([(_item(0), renamed), (_item(1), _done(1))])
    assert [found.final_blob for _, found in journal.outcomes()] == ["box/0 (2)", "box/1"]


def test_a_place_that_cannot_be_written_is_the_stations_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateUnusable, match="journal"):
        Journal(tmp_path / "file" / "journal.sqlite", IDENTITY)


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.sqlite", IDENTITY).close()
    assert (tmp_path / "journal.sqlite").stat().st_mode & 0o777 == 0o600


def test_side_files_are_kept_once_with_what_they_say(journal: Journal) -> None:
    number = journal.side_id("\\m.xml", b"\1" * 16, "metadata")
    assert journal.side_id("\\m.xml", b"\1" * 16, "metadata") == number
    assert [row.id for row in journal.unread_sides()] == [number]
    journal.record_side(number, SideFileStatus.COMPLETED, {"a": "ü"})
    assert journal.unread_sides() == []
    assert journal.side(number).fields == {"a": "ü"}


def test_a_drive_is_worked_by_one_process_at_a_time(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "j" / "journal.sqlite"
    with pytest.raises(DriveBusy):
        Journal(path, IDENTITY)
    journal.close()
    Journal(path, IDENTITY).close()


def test_it_survives_the_loss_of_its_process(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path, IDENTITY)
    journal.add([(_item(0), _done(0))])
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as other:
        assert other.execute("SELECT count(*) FROM outcome").fetchone() == (1,)
    other.close()
    journal.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_file_with_bytes_changed_anywhere_is_read_or_called_damaged_and_nothing_else(
    tmp_path: Path, seed: int
) -> None:
    whole = Journal(tmp_path / "whole.sqlite", IDENTITY)
    whole.begin_inventory()
    whole.add([(_item(seq), None) for seq in range(100)])
    whole.finish_inventory()
    whole.record(map(_done, range(50)))
    whole.close()
    dice, damages = random.Random(seed), list[Exception]()
    for number in range(6):
        data = bytearray((tmp_path / "whole.sqlite").read_bytes())
        for _ in range(20):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path = tmp_path / f"{number}.sqlite"
        path.write_bytes(data)
        journal = Journal(path, IDENTITY)
        try:
            journal.tally()
            [*journal.outcomes(), *journal.pending()]
        except sqlite3.DatabaseError as error:
            damages.append(error)
        finally:
            journal.close()
    assert all(map(is_damage, damages)), damages
