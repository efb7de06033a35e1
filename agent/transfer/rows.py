"""How the journal keeps items and outcomes: the tables, and values to rows and back.

Codes stand there as their place in their enum, and what most files have in common as nothing at all, so
that a row is small and quickly made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress
from typing import Any

from agent.model.codes import (
    BlobStatus,
    BlobType,
    ChunkStatus,
    Disposition,
    DispositionStatus,
    SideFileStatus,
)
from agent.model.verification import Depth, Verdict, Verified
from agent.transfer.items import NO_PIECES, NO_SIDE, FileFacts, Item, ItemState, Outcome, Piece, SideFiles
from agent.transfer.packed import pack, unpack
from agent.volume.entry import StreamRef

SCHEMA_VERSION = 3

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE side (
    id INTEGER PRIMARY KEY, path BLOB NOT NULL, md5 BLOB NOT NULL, kind TEXT NOT NULL,
    status TEXT, fields TEXT, UNIQUE (path, md5, kind)
);
CREATE TABLE item (
    seq INTEGER PRIMARY KEY, file_path BLOB NOT NULL, blob BLOB NOT NULL, type INTEGER NOT NULL,
    disposition INTEGER NOT NULL, overwrites INTEGER NOT NULL, listed INTEGER NOT NULL,
    length INTEGER NOT NULL, first_offset INTEGER NOT NULL, packed BLOB, rest TEXT
);
CREATE TABLE outcome (
    seq INTEGER PRIMARY KEY, state INTEGER NOT NULL, blob_status INTEGER NOT NULL,
    disposition_status INTEGER NOT NULL, final_blob BLOB, note TEXT, pieces TEXT,
    metadata_status INTEGER, properties_status INTEGER,
    depth INTEGER, verdict INTEGER, crc64 BLOB, content_md5 BLOB, sha256 BLOB
);
CREATE TABLE piece (
    seq INTEGER NOT NULL, ordinal INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    id TEXT, md5 BLOB, PRIMARY KEY (seq, ordinal)
) WITHOUT ROWID;
CREATE INDEX item_way ON item (overwrites, first_offset, seq);
"""
"""``packed`` is an ordinary stream with its file's facts (see ``packed``), and ``rest`` in JSON whatever else
there is: "stream" and "facts" where the stream is not ordinary, "side" where there are side files. An item
without an outcome is pending; one that has it is not touched again. ``final_blob`` is kept only where it
could be another one than the item's ``blob``."""

ITEM_COLUMNS = "item.seq, file_path, item.blob, type, disposition, listed, length, first_offset, packed, rest"
OUTCOME_COLUMNS = (
    "state, blob_status, disposition_status, final_blob, note, pieces, metadata_status, properties_status, "
    "depth, verdict, crc64, content_md5, sha256"
)
INSERT_ITEM = "INSERT INTO item VALUES (?,?,?,?,?,?,?,?,?,?,?)"
INSERT_OUTCOME = "INSERT OR REPLACE INTO outcome VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_ITEM_WIDTH = 10

Row = tuple[Any, ...]


def _numbers(codes: type[StrEnum]) -> dict[Any, int | None]:
    """The place of each code in its enum; of nothing, nothing."""
    return {None: None} | {code: place for place, code in enumerate(codes)}


_TYPES, _DISPOSITIONS, _STATES = _numbers(BlobType), _numbers(Disposition), _numbers(ItemState)
_BLOB_STATUSES, _ENDS = _numbers(BlobStatus), _numbers(DispositionStatus)
_SIDE_STATUSES, _DEPTHS, _VERDICTS = _numbers(SideFileStatus), _numbers(Depth), _numbers(Verdict)
_TYPE, _DISPOSITION, _STATE = tuple(BlobType), tuple(Disposition), tuple(ItemState)
_BLOB_STATUS, _END, _SIDE_STATUS = tuple(BlobStatus), tuple(DispositionStatus), tuple(SideFileStatus)
_DEPTH, _VERDICT = tuple(Depth), tuple(Verdict)

_ALL_CODES = (BlobType, Disposition, ItemState, BlobStatus, DispositionStatus, SideFileStatus, Depth, Verdict)
FORMAT = f"{SCHEMA_VERSION} " + " ".join(code for codes in _ALL_CODES for code in codes)
"""What a journal must say of itself to be read: with other codes, its numbers mean something else."""

_UNDER_ITS_OWN_NAME = frozenset(
    {DispositionStatus.CREATED, DispositionStatus.OVERWRITTEN, DispositionStatus.SKIPPED}
)


def number(code: StrEnum) -> int:
    """As which a code stands in the tables."""
    return list(type(code)).index(code)


def code_of(codes: type[StrEnum], place: int) -> StrEnum:
    """What ``number`` was given."""
    return list(codes)[place]


FINDINGS = f"""NOT (state = {number(ItemState.DONE)} AND blob_status = {number(BlobStatus.COMPLETED)}
    AND disposition_status IN ({number(DispositionStatus.CREATED)}, {number(DispositionStatus.OVERWRITTEN)})
    AND verdict IS {number(Verdict.MATCH)})"""
"""Outcomes that the error log tells of."""


def text_bytes(value: str) -> bytes:
    """Any text, lone surrogates too, as the journal keeps it."""
    return value.encode("utf-8", "surrogatepass")


def text_of(value: bytes) -> str:
    """What ``text_bytes`` was given."""
    return value.decode("utf-8", "surrogatepass")


def item_row(item: Item) -> Row:
    """For ``INSERT_ITEM``."""
    stream = item.stream
    packed = pack(stream, item.facts) if stream is not None else None
    return (
        item.seq,
        text_bytes(item.file_path),
        text_bytes(item.blob),
        _TYPES[item.type],
        _DISPOSITIONS[item.disposition],
        1 if item.disposition is Disposition.OVERWRITE else 0,
        0 if item.pieces is None else 1,
        item.length,
        stream.first_offset if stream is not None else 0,
        packed,
        _rest(item, is_packed=packed is not None),
    )


def _rest(item: Item, *, is_packed: bool) -> str | None:
    rest: dict[str, object] = {}
    if not is_packed:
        rest["stream"] = item.stream.to_json() if item.stream is not None else None
        rest["facts"] = item.facts
    if item.side != NO_SIDE:
        rest["side"] = item.side
    return json.dumps(rest, separators=(",", ":")) if rest else None


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Columns of ordinary files of a volume, to be moved to block blobs; a place in all is one file.

    ``packed`` are rows of ``packed.pack``; ``seqs`` ascend.
    """

    seqs: list[int]
    file_paths: list[str]
    blobs: list[str]
    lengths: list[int]
    first_offsets: list[int]
    packed: list[bytes]

    def rows(self, disposition: Disposition) -> Iterable[Row]:
        """For ``INSERT_ITEM``."""
        kind, how = _TYPES[BlobType.BLOCK], _DISPOSITIONS[disposition]
        overwrites = 1 if disposition is Disposition.OVERWRITE else 0
        columns = zip(
            self.seqs,
            [path.encode("utf-8", "surrogatepass") for path in self.file_paths],
            [blob.encode("utf-8", "surrogatepass") for blob in self.blobs],
            self.lengths,
            self.first_offsets,
            self.packed,
            strict=True,
        )
        return (
            (seq, path, blob, kind, how, overwrites, 0, length, first, packed, None)
            for seq, path, blob, length, first, packed in columns
        )

    def only(self, wanted: list[bool]) -> FoundFiles:
        """Those that are wanted."""
        return FoundFiles(
            [*compress(self.seqs, wanted)],
            [*compress(self.file_paths, wanted)],
            [*compress(self.blobs, wanted)],
            [*compress(self.lengths, wanted)],
            [*compress(self.first_offsets, wanted)],
            [*compress(self.packed, wanted)],
        )


def item_of(row: Row, pieces: tuple[Piece, ...] | None) -> Item:
    """An item out of ``ITEM_COLUMNS``."""
    seq, path, blob, kind, disposition, _, length, first, packed, rest = row[:_ITEM_WIDTH]
    side = NO_SIDE
    stream: StreamRef | None
    if packed is not None:
        stream, facts = unpack(packed, first)
    if rest is not None:
        told = json.loads(rest)
        side = SideFiles(*told.get("side", ()))
        if packed is None:
            stream = StreamRef.from_json(told["stream"]) if told["stream"] is not None else None
            facts = FileFacts(*told["facts"])
    return Item(
        seq,
        path.decode("utf-8", "surrogatepass"),
        blob.decode("utf-8", "surrogatepass"),
        _TYPE[kind],
        length,
        _DISPOSITION[disposition],
        stream,
        facts,
        side,
        pieces,
    )


def outcome_row(outcome: Outcome) -> Row:
    """For ``INSERT_OUTCOME``."""
    seq, state, status, end, final, note, pieces, metadata, properties, verified = outcome
    return (
        seq,
        _STATES[state],
        _BLOB_STATUSES[status],
        _ENDS[end],
        None if end in _UNDER_ITS_OWN_NAME else text_bytes(final),
        note or None,
        json.dumps(dict(pieces)) if pieces else None,
        _SIDE_STATUSES[metadata],
        _SIDE_STATUSES[properties],
        *(_NOT_VERIFIED if verified is None else _verified_row(verified)),
    )


_NOT_VERIFIED = (None,) * 5


def _verified_row(verified: Verified) -> Row:
    crc64 = verified.crc64
    return (
        _DEPTHS[verified.depth],
        _VERDICTS[verified.verdict],
        None if crc64 is None else crc64.to_bytes(8, "big"),
        verified.content_md5,
        verified.sha256,
    )


def outcome_of(row: Row, item: Item) -> Outcome:
    """An outcome out of ``ITEM_COLUMNS`` and ``OUTCOME_COLUMNS``."""
    state, status, end, final, note, pieces, metadata, properties = row[_ITEM_WIDTH : _ITEM_WIDTH + 8]
    return Outcome(
        item.seq,
        _STATE[state],
        _BLOB_STATUS[status],
        _END[end],
        item.blob if final is None else text_of(final),
        note or "",
        _pieces(pieces) if pieces else NO_PIECES,
        None if metadata is None else _SIDE_STATUS[metadata],
        None if properties is None else _SIDE_STATUS[properties],
        _verified(*row[_ITEM_WIDTH + 8 :]),
    )


def _pieces(text: str) -> Mapping[int, ChunkStatus]:
    return {int(key): ChunkStatus(value) for key, value in json.loads(text).items()}


def _verified(
    depth: int | None, verdict: int | None, crc64: bytes | None, md5: bytes | None, sha256: bytes | None
) -> Verified | None:
    if depth is None or verdict is None:
        return None
    whole = None if crc64 is None else int.from_bytes(crc64, "big")
    return Verified(_DEPTH[depth], _VERDICT[verdict], whole, md5, sha256)
