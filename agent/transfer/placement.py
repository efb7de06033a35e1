"""Where the files of a whole volume go: each its number and its blob, and what is known of it already."""

from __future__ import annotations

from typing import Any, NamedTuple

from agent.errors import WorkerLost
from agent.model.blobs import MAX_NAME_CHARS, illegal
from agent.model.codes import BlobStatus, BlobType, Disposition, DispositionStatus
from agent.model.destination import Destination
from agent.model.naming import encode, encode_all
from agent.transfer.items import NO_FACTS, FileFacts, Item, ItemState, Outcome
from agent.transfer.journal import Journal
from agent.transfer.link import stream_of
from agent.transfer.listing import MAX_COUNTED_BYTES, Listed
from agent.transfer.packed import unpack
from agent.transfer.rows import FoundFiles

SYSTEM_FOLDERS = frozenset({"SYSTEM VOLUME INFORMATION", "$RECYCLE.BIN"})
"""Windows' own, on every volume; not the customer's files."""

EASY_CHARS = MAX_NAME_CHARS // 2
"""A blob's name of so many characters is not too long, whatever they are."""


class Placement:
    """Gives each file of a volume its number and its blob; ``files`` have them so far."""

    def __init__(self, destination: Destination, disposition: Disposition, *, upload_streams: bool) -> None:
        self._destination, self._disposition = destination, disposition
        self._upload_streams = upload_streams
        self.files = 0

    def keep(self, listed: Listed, journal: Journal) -> None:
        """Put a batch into the journal. Raises WorkerLost when a row of it is none."""
        listed = _customers(listed)
        seqs, found = self._number(listed)
        folders = [_Folder.of(self._destination, names) for names in listed.folders]
        homes = [folders[place] for place in listed.places]
        blobs = [home.blob + name for home, name in zip(homes, encode_all(listed.names), strict=True)]
        paths = [home.path + name for home, name in zip(homes, listed.names, strict=True)]
        files = FoundFiles(seqs, paths, blobs, listed.sizes, listed.first_offsets, listed.packed)
        if any(not folder.is_easy for folder in folders) or len(max(blobs, key=len, default="")) > EASY_CHARS:
            easy = [home.is_easy and len(blob) <= EASY_CHARS for home, blob in zip(homes, blobs, strict=True)]
            found += [self._hard(files, at) for at, is_easy in enumerate(easy) if not is_easy]
            files = files.only(easy)
        journal.add_files(files, self._disposition)
        if found:
            journal.add(found)

    def _number(self, listed: Listed) -> tuple[list[int], list[tuple[Item, Outcome | None]]]:
        """The numbers of the ordinary files, and the others as items, all in the order of the volume."""
        seqs: list[int] = []
        found = []
        for before, row in listed.rows:
            self._advance(seqs, before)
            entry = _entry(
                self.files, row, self._destination, self._disposition, upload_streams=self._upload_streams
            )
            if entry is not None:
                found.append(entry)
                self.files += 1
        self._advance(seqs, len(listed.names))
        return seqs, found

    def _advance(self, seqs: list[int], until: int) -> None:
        new = until - len(seqs)
        seqs += range(self.files, self.files + new)
        self.files += new

    def _hard(self, files: FoundFiles, at: int) -> tuple[Item, Outcome | None]:
        """A file whose blob's name has to be looked at more closely."""
        stream, facts = unpack(files.packed[at], files.first_offsets[at])
        item = Item(
            files.seqs[at],
            files.file_paths[at],
            files.blobs[at],
            BlobType.BLOCK,
            files.lengths[at],
            self._disposition,
            stream,
            facts,
        )
        return item, _known_outcome(item, "file", "", upload_streams=self._upload_streams)


class _Folder(NamedTuple):
    """What the paths and blobs of a folder's files begin with.

    ``is_easy``: a blob in it whose name comes from the codec and has few characters is legal.
    """

    path: str
    blob: str
    is_easy: bool

    @classmethod
    def of(cls, destination: Destination, names: list[str]) -> _Folder:
        path = destination.prefix + (f"{encode(names)}/" if names else "")
        shown = "\\".join(["", *names, ""])
        return cls(shown, f"{destination.container}/{path}", illegal(f"{path}x") is None)


def _customers(listed: Listed) -> Listed:
    """Without the ordinary files in the folders that Windows keeps for itself."""
    own = [bool(names) and _is_windows_own(names[0]) for names in listed.folders]
    return listed.only([not own[place] for place in listed.places]) if any(own) else listed


def _is_windows_own(name: str) -> bool:
    # Letters such as the dotless i are capitals of ASCII's for Python, and other letters for NTFS.
    return name.isascii() and name.upper() in SYSTEM_FOLDERS


def _entry(
    seq: int, row: Any, destination: Destination, disposition: Disposition, *, upload_streams: bool
) -> tuple[Item, Outcome | None] | None:
    """A row of the scan as an item; None for what is not a customer's file."""
    names, facts, flags, note = checked_row(row)
    stream = stream_of(row)
    if flags == "system" or (len(names) > 1 and _is_windows_own(names[0])):
        return None
    if flags == "directory" and (stream is None or not stream.name):
        return None
    shown = names
    if stream is not None and stream.name:
        *folders, name = names or [""]
        shown = [*folders, f"{name}:{stream.name}"]
    item = Item(
        seq=seq,
        file_path="\\" + "\\".join(shown),
        blob=f"{destination.container}/{destination.prefix}{encode(shown)}",
        type=BlobType.BLOCK,
        length=min(stream.size, MAX_COUNTED_BYTES) if stream is not None else 0,
        disposition=disposition,
        stream=stream,
        facts=facts,
    )
    return item, _known_outcome(item, flags, note, upload_streams=upload_streams)


def checked_row(row: Any) -> tuple[list[str], FileFacts, str, str]:
    """Names, facts, flags and note of a row. Raises WorkerLost when it is none."""
    match row:
        case [[*names], _, facts, str(flags), str(note)] if all(isinstance(n, str) and n for n in names):
            return names, _facts(facts), flags, note
    raise WorkerLost("the reader sent an entry that is none")


def _facts(value: Any) -> FileFacts:
    """What the journal can keep of them; 0 for a time that no clock ever showed."""
    match value:
        case 0:
            return NO_FACTS
        case [int(), int(), int(), int()]:
            return FileFacts(*[each if 0 <= each < 1 << 63 else 0 for each in value])
    raise WorkerLost("the reader sent an entry that is none")


def _known_outcome(item: Item, flags: str, note: str, *, upload_streams: bool) -> Outcome | None:
    """What is settled without reading a byte."""
    stream = item.stream
    if flags == "damaged":
        return failed(item, BlobStatus.IO_FAILED, f"the file's MFT record is damaged: {note}")
    if flags == "link":
        return _skipped(item, f"a link to {note}; links are recorded and not followed")
    if stream is not None and stream.name and not upload_streams:
        return _skipped(item, "an alternate data stream; not uploaded")
    if stream is None:
        return failed(item, BlobStatus.IO_FAILED, "the file has no data stream")
    if stream.unsupported is not None:
        return failed(item, BlobStatus.FAILED, stream.unsupported)
    _, _, path = item.blob.partition("/")
    problem = illegal(path)
    if problem is not None:
        too_long = len(path) > MAX_NAME_CHARS or "segments" in problem
        return failed(
            item, BlobStatus.FILE_NAME_TOO_LONG if too_long else BlobStatus.FILE_NAME_INVALID, problem
        )
    return None


def failed(item: Item, status: BlobStatus, note: str) -> Outcome:
    """The outcome of an item of which no byte is to move."""
    return Outcome(item.seq, ItemState.FAILED, status, DispositionStatus.CANCELLED, item.blob, note)


def _skipped(item: Item, note: str) -> Outcome:
    return Outcome(
        item.seq, ItemState.SKIPPED, BlobStatus.COMPLETED, DispositionStatus.SKIPPED, item.blob, note
    )
