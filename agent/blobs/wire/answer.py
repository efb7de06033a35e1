"""Reads one answer of HTTP/1.1 (RFC 9112), strictly and within bounds.

A service answers a write with some hundred bytes. What is longer, or not by the letter, comes from a
broken proxy or worse, and is a BadAnswer that says what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from agent.blobs.wire.trouble import BadAnswer, BrokenOff, NoAnswer

MAX_HEAD_BYTES = 32 << 10
MAX_HEADERS = 100
MAX_BODY_BYTES = 64 << 10
"""Errors come as some lines of XML. Of a longer body only this much is read, and the rest never."""

MAX_INTERIM_ANSWERS = 8
RECEIVE_BYTES = 8 << 10

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n\0]*)?\Z")
_HEADER = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\r\n\0]*+"
_HEADERS = re.compile(rf"{_HEADER}(?:\r\n{_HEADER})*+\Z")
_BEGINNING = re.compile(rf"(?:{_HEADER}\r\n)*+")
_FIELD = re.compile(r"([^:\r\n]+):([^\r\n]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}\Z")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\0]*)?\Z")
_METADATA = "x-ms-meta-"
_NO_BODY = frozenset({204, 304})


# Named tuples, as each blob has one of each: a frozen dataclass takes five times as long to make.
class Head(NamedTuple):
    """Status, and headers by their names in lower case, save what follows ``x-ms-meta-``.

    ``is_last`` when the connection ends after it.
    """

    status: int
    headers: Mapping[str, str]
    is_last: bool


class Answer(NamedTuple):
    """What came back. ``is_last``: the connection cannot be used again."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_last: bool


def parse_head(data: bytes) -> Head:
    """The head without the empty line at its end. Raises BadAnswer."""
    first, _, rest = data.partition(b"\r\n")
    status_line = _STATUS.match(first)
    if status_line is None:
        raise BadAnswer("it does not begin as HTTP/1.1 does")
    headers = _headers(rest.decode("latin-1"))
    connection = headers.get("connection", "").lower()
    is_last = "close" in connection or (status_line[1] == b"0" and "keep-alive" not in connection)
    return Head(int(status_line[2]), headers, is_last)


def _headers(text: str) -> dict[str, str]:
    if not text:
        return {}
    if text.count("\n") >= MAX_HEADERS:
        raise BadAnswer(f"it has more than {MAX_HEADERS} headers")
    if _HEADERS.match(text) is None:
        good = _BEGINNING.match(text)
        number = good[0].count("\n") + 1 if good else 1
        raise BadAnswer(f"header {number} is malformed")
    fields = _FIELD.findall(text)
    headers = {key.lower(): value.strip(" \t") for key, value in fields}
    is_simple = len(headers) == len(fields) and _METADATA not in text.lower()
    return headers if is_simple else _special_headers(fields)


def _special_headers(fields: list[tuple[str, str]]) -> dict[str, str]:
    """With metadata, or with a header that stands there twice."""
    headers: dict[str, str] = {}
    for key, value in fields:
        key, value = _name(key), value.strip(" \t")
        if key in headers:
            value = _joined(key, headers[key], value)
        headers[key] = value
    return headers


def _name(key: str) -> str:
    """In lower case, but for the customer's own part of a metadata header."""
    lower = key.lower()
    return _METADATA + key[len(_METADATA) :] if lower.startswith(_METADATA) else lower


def _joined(key: str, first: str, second: str) -> str:
    """Of one header twice. The framing headers may say the same thing twice, and nothing else."""
    if first == second:
        return first
    if key in ("content-length", "transfer-encoding"):
        raise BadAnswer(f"it has two different {key} headers")
    return f"{first}, {second}"


class Incoming:
    """The answers on one connection. ``receive`` gives up to so many bytes, and none at the end.

    Of what it raises, NoAnswer says that not one byte came.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._held = b""

    def push(self, piece: bytes) -> None:
        """Bytes that came while nobody asked for them."""
        self._held += piece

    @property
    def is_empty(self) -> bool:
        """Nothing is held that belongs to no answer yet."""
        return not self._held

    def interim_or_last(self, *, has_body: bool = True) -> Answer:
        """The next answer, which may be an interim one (1xx). Raises NoAnswer, BrokenOff and BadAnswer."""
        end = self._held.find(b"\r\n\r\n")
        while end < 0:
            if len(self._held) > MAX_HEAD_BYTES:
                raise BadAnswer(f"its head is longer than {MAX_HEAD_BYTES} bytes")
            seen = max(0, len(self._held) - 3)
            self._more(is_begun=bool(self._held))
            end = self._held.find(b"\r\n\r\n", seen)
        if end > MAX_HEAD_BYTES:
            raise BadAnswer(f"its head is longer than {MAX_HEAD_BYTES} bytes")
        head = parse_head(self._held[:end])
        self._held = self._held[end + 4 :]
        if head.status < 200 or head.status in _NO_BODY or not has_body:
            return Answer(head.status, head.headers, b"", head.is_last)
        body, is_whole = self._body(head)
        return Answer(head.status, head.headers, body, head.is_last or not is_whole)

    def answer(self, *, has_body: bool = True) -> Answer:
        """The next answer that is not an interim one."""
        for _ in range(MAX_INTERIM_ANSWERS + 1):
            found = self.interim_or_last(has_body=has_body)
            if found.status >= 200:
                return found
        raise BadAnswer(f"more than {MAX_INTERIM_ANSWERS} interim answers came before it")

    def _more(self, *, is_begun: bool = True) -> None:
        piece = self._receive(RECEIVE_BYTES)
        if not piece:
            raise BrokenOff("disconnected") if is_begun else NoAnswer("disconnected")
        self._held = self._held + piece if self._held else piece

    def _take(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more()
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def _line(self) -> bytes:
        while (end := self._held.find(b"\r\n")) < 0:
            if len(self._held) > RECEIVE_BYTES:
                raise BadAnswer("a line between its chunks is too long")
            self._more()
        return self._take(end + 2)[:-2]

    def _body(self, head: Head) -> tuple[bytes, bool]:
        """The body, and whether that is all of it."""
        coding, length = head.headers.get("transfer-encoding"), head.headers.get("content-length")
        if coding is not None:
            if length is not None or coding.lower() != "chunked":
                raise BadAnswer("the length of its body is told in two ways, or in an unknown one")
            return self._chunks()
        if length is None:
            return self._until_the_end(), False
        if _LENGTH.match(length.encode("latin-1")) is None:
            raise BadAnswer("its content-length is no number")
        size = int(length)
        return self._take(min(size, MAX_BODY_BYTES)), size <= MAX_BODY_BYTES

    def _chunks(self) -> tuple[bytes, bool]:
        parts: list[bytes] = []
        room = MAX_BODY_BYTES
        while True:
            found = _CHUNK.match(self._line())
            if found is None:
                raise BadAnswer("a chunk of its body is malformed")
            size = int(found[1], 16)
            if size == 0:
                return b"".join(parts), self._skip_trailers()
            parts.append(self._take(min(size, room)))
            room -= len(parts[-1])
            if len(parts[-1]) < size or not room:
                return b"".join(parts), False
            if self._take(2) != b"\r\n":
                raise BadAnswer("a chunk of its body is longer than it says")

    def _skip_trailers(self) -> bool:
        for _ in range(MAX_HEADERS):
            if not self._line():
                return True
        raise BadAnswer(f"it has more than {MAX_HEADERS} trailers")

    def _until_the_end(self) -> bytes:
        while len(self._held) <= MAX_BODY_BYTES:
            piece = self._receive(RECEIVE_BYTES)
            if not piece:
                break
            self._held += piece
        taken, self._held = self._held[:MAX_BODY_BYTES], b""
        return taken
