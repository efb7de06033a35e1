"""The listing of a volume: columns give what rows give, and what no volume could have given is refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import WorkerLost
from agent.model.codes import BlobStatus, Disposition
from agent.model.job import Destination
from agent.model.naming import encode_all, encode_segment
from agent.transfer import listing
from agent.transfer.frames import MAX_FRAME_BYTES, pack
from agent.transfer.items import Item, ItemState, Outcome
from agent.transfer.journal import Journal
from agent.transfer.listing import Batch, Listed, parts_of, rows_of
from agent.transfer.placement import Placement
from agent.volume.ntfs import DamagedRecord, Entry, StreamKind, StreamRef

NAMES = st.text(st.characters(blacklist_characters="/\0"), min_size=1, max_size=12)
TIMES = st.sampled_from([0, 1, 133_000_000_000_000_000, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])


def _stream(record: int, shape: str, size: int) -> StreamRef:
    place, whole = 4096 * (record + 1), -(-max(size, 1) // 4096) * 4096
    if shape == "resident":
        return StreamRef(record, 1, "", StreamKind.RESIDENT, size, size, 0, (), None, place)
    if shape == "sparse":
        extents = ((place, whole), (None, 4096))
        return StreamRef(record, 1, "", StreamKind.SPARSE, size, size // 2, 0, extents, None, place)
    if shape == "unsupported":
        return StreamRef(record, 1, "", StreamKind.PLAIN, size, size, 0, (), "it is encrypted", place)
    name = "ads" if shape == "named" else ""
    return StreamRef(record, 1, name, StreamKind.PLAIN, size, size // 2, 0, ((place, whole),), None, place)


@st.composite
def _entries(draw: st.DrawFn) -> list[Entry | DamagedRecord]:
    folders = draw(st.lists(st.lists(NAMES, max_size=3).map(tuple), min_size=1, max_size=4))
    folders += [("System Volume Information",), ("f" * 255,) * 5, tuple("a" * 253)]
    found: list[Entry | DamagedRecord] = []
    for record in range(draw(st.integers(0, 12))):
        if draw(st.integers(0, 7)) == 0:
            found.append(DamagedRecord(record, "no magic", ("x",)))
            continue
        shapes = st.sampled_from(["plain", "plain", "resident", "sparse", "named", "unsupported"])
        streams = tuple(
            _stream(record, shape, draw(st.integers(0, 10_000)))
            for shape in draw(st.lists(shapes, max_size=2, unique=True))
        )
        path = (*draw(st.sampled_from(folders)), draw(NAMES))
        directory, system = draw(st.integers(0, 9)) == 0, draw(st.integers(0, 9)) == 0
        target = draw(st.sampled_from([None, None, None, "C:\\x"]))
        times = [draw(TIMES) for _ in range(4)]
        found.append(Entry(record, 1, path, directory, 0x20, *times, 1, system, streams, None, target))
    return found


def _listed(entries: list[Entry | DamagedRecord], per_message: int) -> list[Listed]:
    messages = []
    for start in range(0, len(entries), per_message):
        batch = Batch()
        for entry in entries[start : start + per_message]:
            batch.add(entry)
        messages.append(Listed.of(json.loads(json.dumps(batch.message()))))
    return messages


def _kept(folder: Path, messages: list[Listed], prefix: str) -> list[tuple[Item, Outcome | None]]:
    journal = Journal(folder / "journal.sqlite", {})
    try:
        journal.begin_inventory()
        place = Placement(Destination.parse(f"box/{prefix}"), Disposition.NO_OVERWRITE, upload_streams=True)
        for listed in messages:
            place.keep(listed, journal)
        settled: list[tuple[Item, Outcome | None]] = [*journal.outcomes()]
        kept = settled + [(item, None) for item in journal.pending()]
        assert place.files == len(kept)
        return sorted(kept, key=lambda each: each[0].seq)
    finally:
        journal.close()


@settings(max_examples=60, deadline=None)
@given(_entries(), st.sampled_from(["", "p/", "p"]), st.integers(1, 5))
def test_columns_give_the_items_that_rows_give(
    tmp_path_factory: pytest.TempPathFactory,
    entries: list[Entry | DamagedRecord],
    prefix: str,
    per_message: int,
) -> None:
    columns = _kept(tmp_path_factory.mktemp("columns"), _listed(entries, per_message), prefix)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batch, "_add_ordinary", lambda self, entry: False)
        rows = _kept(tmp_path_factory.mktemp("rows"), _listed(entries, per_message), prefix)
    assert columns == rows
    assert [item.seq for item, _ in columns] == list(range(len(columns)))


def test_a_blob_with_a_name_too_long_is_settled_though_its_file_is_ordinary(tmp_path: Path) -> None:
    path = ("f" * 255, "g" * 255, "h" * 255, "i" * 250, "j" * 20)
    entries: list[Entry | DamagedRecord] = [
        Entry(n, 1, where, False, 0, 0, 0, 0, 0, 1, False, (_stream(n, "plain", 5),), None, None)
        for n, where in enumerate([("a",), path, ("b",)])
    ]
    kept = _kept(tmp_path, _listed(entries, 10), "")
    assert [item.file_path[:2] for item, _ in kept] == ["\\a", "\\f", "\\b"]
    (outcome,) = [outcome for _, outcome in kept if outcome is not None]
    assert (outcome.seq, outcome.state) == (1, ItemState.FAILED)
    assert outcome.blob_status is BlobStatus.FILE_NAME_TOO_LONG


def _message(**changes: Any) -> dict[str, Any]:
    batch = Batch()
    batch.add(
        Entry(7, 1, ("d", "f"), False, 0, 1, 2, 3, 4, 1, False, (_stream(7, "plain", 100),), None, None)
    )
    return json.loads(json.dumps(batch.message())) | changes  # type: ignore[no-any-return]


def _with_number(place: int, value: int) -> str:
    numbers = np.frombuffer(base64.b64decode(_message()["numbers"]), "<u8").copy()
    numbers[place] = value
    return base64.b64encode(numbers.tobytes()).decode()


def test_the_message_that_the_next_test_spoils_is_a_good_one() -> None:
    listed = Listed.of(_message())
    assert (listed.folders, listed.names, listed.sizes) == ([["d"]], ["f"], [100])


@pytest.mark.parametrize(
    "changes",
    [
        {"folders": []},
        {"folders": [["d", 5]]},
        {"folders": [[""]]},
        {"folders": ["d"]},
        {"folders": {}},
        {"names": [""]},
        {"names": [None]},
        {"names": ["f", "g"]},
        {"numbers": "?"},
        {"numbers": 5},
        {"numbers": ""},
        {"rows": [[2, []]]},
        {"rows": [[-1, []]]},
        {"rows": [[1, []], [0, []]]},
        {"rows": [["0", []]]},
        {"rows": [5]},
        {"numbers": _with_number(0, 1)},
        {"numbers": _with_number(1, 1 << 63)},
        {"numbers": _with_number(3, 1 << 63)},
        {"numbers": _with_number(3, 5000)},
        {"numbers": _with_number(4, 101)},
        {"numbers": _with_number(5, 1 << 63)},
        {"numbers": _with_number(5, 99)},
    ],
    ids=lambda changes: json.dumps(changes)[:40],
)
def test_a_listing_that_no_volume_could_have_given_is_the_readers_failure(changes: dict[str, Any]) -> None:
    with pytest.raises(WorkerLost):
        Listed.of(_message(**changes))


def test_a_batch_is_full_of_extents_before_it_is_full_of_files() -> None:
    batch = Batch()
    extents = tuple((4096 * n, 4096) for n in range(listing.EXTENTS_PER_MESSAGE))
    stream = StreamRef(1, 1, "", StreamKind.PLAIN, 1, 1, 0, extents, None, 0)
    batch.add(Entry(1, 1, ("f",), False, 0, 0, 0, 0, 0, 1, False, (stream,), None, None))
    assert batch.is_full


def test_a_batch_is_full_of_deep_paths_before_they_are_many_megabytes() -> None:
    deep, batch, files = ("d" * 255,) * 1024, Batch(), 0
    while not batch.is_full:
        path = (*deep, str(files))
        stream = _stream(files, "plain", 5)
        batch.add(Entry(files, 1, path, False, 0, 0, 0, 0, 0, 1, False, (stream,), None, None))
        files += 1
    assert files < 20
    assert len(Listed.of(json.loads(json.dumps(batch.message()))).names) == files


def test_a_batch_is_full_of_names_before_they_take_more_memory_than_their_letters() -> None:
    deep, batch, files = ("dd",) * 1000, Batch(), 0
    while not batch.is_full:
        batch.add(Entry(files, 1, (*deep, str(files)), False, 0, 0, 0, 0, 0, 1, False, (), None, None))
        files += 1
    assert 200 < files < 300


@pytest.mark.parametrize(("files", "folder_chars"), [(1025, 1), (1000, 10_000), (1, 10_000_000)])
def test_a_message_of_few_bytes_and_very_many_characters_is_refused(files: int, folder_chars: int) -> None:
    numbers = np.frombuffer(base64.b64decode(_message()["numbers"]), "<u8")
    text = base64.b64encode(np.tile(numbers, files).tobytes()).decode()
    with pytest.raises(WorkerLost, match=f"{files} entries of"):
        Listed.of(_message(folders=[["d" * folder_chars]], names=["f"] * files, numbers=text))


def test_a_file_with_very_many_streams_is_listed_some_at_a_time() -> None:
    streams = tuple(_stream(7, "named", 5)._replace(name=str(number)) for number in range(1000))
    entry = Entry(7, 1, ("d" * 255,) * 1024, False, 0, 1, 2, 3, 4, 1, False, streams, None, None)
    parts = [*parts_of(entry)]
    assert [row for part in parts for row in rows_of(part)] == [*rows_of(entry)]
    batch = Batch()
    batch.add(parts[0])
    assert batch.is_full
    assert len(pack(batch.message())) < MAX_FRAME_BYTES // 8


def test_a_file_in_too_many_pieces_is_listed_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_EXTENTS", 2)
    batch = Batch()
    stream = StreamRef(1, 1, "", StreamKind.PLAIN, 1, 1, 0, ((0, 8), (8, 8), (16, 8)), None, 0)
    batch.add(Entry(1, 1, ("f",), False, 0, 0, 0, 0, 0, 1, False, (stream,), None, None))
    ((_, (_, listed, *_)),) = Listed.of(json.loads(json.dumps(batch.message()))).rows
    assert listed[7] == []
    assert "3 pieces" in listed[8]


@given(st.lists(st.text(st.characters(), min_size=1, max_size=8)))
def test_names_encoded_together_are_as_each_by_itself(names: list[str]) -> None:
    assert encode_all(names) == [encode_segment(name) for name in names]


@given(st.lists(st.sampled_from(["a", "b.", "c ", ".", "..", "d/e", "/", "a.b", "%", "\\", "\ud800"])))
def test_awkward_names_encoded_together_are_as_each_by_itself(names: list[str]) -> None:
    assert encode_all(names) == [encode_segment(name) for name in names]
