"""Reads drive logs of all three generations into one kind of entry.

Sources: Microsoft's pages on the log file format (G1), on Data Box Disk's upload logs (G2) and on
Data Box copy logs (G3, whose files are runs of elements without a root).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from agent.errors import MalformedInput
from agent.formats import carry, scalars
from agent.formats.log_entry import G1_TEXTS, SIDE_FILES, EntryBuilder
from agent.formats.log_values import Generation, LogEntry, LogSummary
from agent.formats.sax import PushXml
from agent.formats.verified_text import from_text
from agent.formats.violation import Violation

__all__ = ["Generation", "LogEntry", "LogReader", "LogSummary", "read_log"]

WINDOW_BYTES = 1 << 18
MAX_COUNTS = 1000
_RUN = "run"
_TOPS = frozenset({"DriveLog", "File", "ErroredEntity", "CopyLog"})
_COUNTS = frozenset({"ValidationErrors", "CopyErrors"})
_G2_TEXTS = frozenset({"OriginalFilePath", "SizeInBytes", "FileStoragePath"})
_GRAMMAR: Mapping[str, frozenset[str]] = {
    "": frozenset({_RUN, "DriveLog"}),
    _RUN: _TOPS,
    "DriveLog": frozenset({"DriveId", "Blob", "File", "Status", "Summary"}),
    "Blob": G1_TEXTS | _G2_TEXTS | SIDE_FILES | {"BlockList", "PageRangeList"},
    "File": G1_TEXTS | _G2_TEXTS,
    "BlockList": frozenset({"Block"}),
    "PageRangeList": frozenset({"PageRange"}),
    "Metadata": frozenset({"GlobalPath", "Path"}),
    "Properties": frozenset({"GlobalPath", "Path"}),
    "ErroredEntity": frozenset({"Category", "ErrorCode", "ErrorMessage", "Type"}),
    "CopyLog": frozenset(
        {"DriveLogVersion", "DriveId", "Status", "TotalFiles_Blobs", "TotalFiles", "FilesErrored", "Summary"}
    ),
    "Summary": _COUNTS,
}


class LogReader:
    """Push parser: bytes in, entries out, and at the end a summary.

    Every method raises MalformedInput, naming line and element, for what is no log or was cut off.
    """

    def __init__(self) -> None:
        self._reading = _Reading()
        self._xml = PushXml(self._reading, lambda text: MalformedInput(f"drive log, {text}"))
        self._head: bytes | None = b""

    def feed(self, data: bytes | memoryview) -> list[LogEntry]:
        """The next bytes; returns the entries that they complete."""
        if self._head is None:
            self._xml.feed(data)
        else:
            self._sniff(self._head + bytes(data))
        return self._reading.take()

    def close(self) -> list[LogEntry]:
        """The log is over."""
        if self._head is not None:
            self._sniff(self._head, last=True)
        if self._wrapped:
            self._xml.feed(f"</{_RUN}>".encode())
        self._xml.close()
        if not self._reading.is_log:
            raise MalformedInput("drive log: no element of a drive log is in it")
        return self._reading.take()

    @property
    def summary(self) -> LogSummary:
        """What the log says of the drive; final after ``close``."""
        return self._reading.summary()

    _wrapped = False

    def _sniff(self, head: bytes, *, last: bool = False) -> None:
        bare = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if len(bare) < 2 and not last and len(head) <= WINDOW_BYTES:
            self._head = head
            return
        # A declaration, or the mark of UTF-16, begins a whole document; all else may lack its root.
        self._wrapped = bool(bare) and not bare.startswith((b"<?", b"\xff\xfe", b"\xfe\xff"))
        self._head = None
        if self._wrapped:
            self._xml.feed(f"<{_RUN}>".encode())
            self._xml.feed(bare)
        else:
            self._xml.feed(head)


def read_log(file: BinaryIO) -> Iterator[LogEntry | LogSummary]:
    """The entries of a log and, as the last item, its summary; raises MalformedInput as LogReader."""
    reader = LogReader()
    while window := file.read(WINDOW_BYTES):
        yield from reader.feed(window)
    yield from reader.close()
    yield reader.summary


class _Reading:
    """The handler behind the reader."""

    secret_elements: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._done: list[LogEntry] = []
        self._entry: EntryBuilder | None = None
        self._escaped = False
        self._version: str | None = None
        self._generation = Generation.G1
        self._texts: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self.is_log = False

    def take(self) -> list[LogEntry]:
        done, self._done = self._done, []
        return done

    def summary(self) -> LogSummary:
        total = self._texts.get("TotalFiles_Blobs", self._texts.get("TotalFiles"))
        errored = self._texts.get("FilesErrored")
        return LogSummary(
            generation=self._generation,
            version=self._version,
            drive_id=self._texts.get("DriveId"),
            status=self._texts.get("Status"),
            total=None if total is None else _count(total),
            errored=None if errored is None else _count(errored),
            counts=dict(self._counts),
        )

    def instruction(self, target: str, text: str) -> None:
        """A processing instruction: the mark of our own logs, or what our own say within a blob."""
        if target == carry.MARK_TARGET and self._entry is not None:
            if text.startswith(carry.REASON_PREFIX):
                self._entry.reason = text.removeprefix(carry.REASON_PREFIX)
            elif text.startswith(carry.VERIFIED_PREFIX):
                self._entry.verified = from_text(text)
        self._escaped = self._escaped or (target == carry.MARK_TARGET and carry.MARK_TEXT in text)

    def knows(self, parent: str, tag: str) -> bool:
        return parent in _COUNTS or tag in _GRAMMAR.get(parent, frozenset())

    def start(self, parent: str, tag: str, attributes: Mapping[str, str]) -> None:
        self.is_log = self.is_log or tag in _TOPS
        if tag == "DriveLog" and parent in ("", _RUN):
            self._start_log(attributes)
        elif parent in _COUNTS:
            self._tally(tag, attributes)
        elif tag in ("Blob", "File", "ErroredEntity"):
            self._generation = Generation.G3 if parent == _RUN else self._generation
            self._entry = EntryBuilder(tag, self._generation, self._escaped, attributes)
        elif tag == "CopyLog":
            self._generation = Generation.G3
        elif self._entry is not None:
            self._entry.start(tag, attributes)

    def end(self, parent: str, tag: str, text: str) -> None:
        if tag in ("Blob", "File", "ErroredEntity"):
            if self._entry is not None:
                self._done.append(self._entry.finish())
            self._entry = None
        elif self._entry is not None:
            self._entry.end(parent, tag, text)
        elif tag == "DriveLogVersion":
            self._version = text.strip()
        elif parent in ("DriveLog", "CopyLog"):
            self._texts[tag] = text.strip()

    def _start_log(self, attributes: Mapping[str, str]) -> None:
        self._version = attributes.get("Version")
        self._generation = Generation.G2 if (self._version or "") >= "2018" else Generation.G1

    def _tally(self, tag: str, attributes: Mapping[str, str]) -> None:
        if len(self._counts) >= MAX_COUNTS:
            raise Violation(f"more than {MAX_COUNTS} kinds of error are counted")
        self._counts[tag] = self._counts.get(tag, 0) + scalars.whole(attributes.get("Count", "0"), "Count")


def _count(text: str) -> int | None:
    try:
        return scalars.whole(text, "a count")
    except Violation:
        return None
