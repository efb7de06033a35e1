"""What a Blob service must remember for a resume: blobs with their metadata, uncommitted blocks, and who
sent what when. Contents are forgotten.

It knows what our uploader asks of it: Put Blob with ``If-None-Match: *``, Put Block, Put Block List, Get
Block List, the properties of a blob, and containers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_LISTED = re.compile(rb"<(?:Latest|Uncommitted|Committed)>([^<]*)</")
_FIXED = (
    "x-ms-request-id: 0-0-0\r\nx-ms-version: 2024-11-04\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
    'ETag: "0x8D1"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n'
)


@dataclass(slots=True)
class Put:
    """One write of a blob, a block or a block list; times of the monotonic clock.

    ``ended`` is when it was answered with success, None for what broke off or was refused.
    """

    path: str
    verb: str
    block_id: str
    body_bytes: int
    begun: float
    ended: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What is the same when it is sent again."""
        return self.path, self.verb, self.block_id


@dataclass(frozen=True, slots=True)
class Request:
    """As it was read. ``headers`` have names in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """``head`` without the empty line; ``path`` is without the account."""
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return cls(method, unquote(parts.path).partition("/")[2].partition("/")[2], query, headers)

    @property
    def body_bytes(self) -> int:
        return int(self.headers.get("content-length", "0"))

    @property
    def verb(self) -> str | None:
        """``blob``, ``block`` or ``blocklist`` for what writes."""
        if self.method != "PUT" or "restype" in self.query:
            return None
        return self.query.get("comp", "blob")


@dataclass(slots=True)
class _Blob:
    size_bytes: int
    metadata: str


@dataclass
class RememberingStore:
    """Used by the thread of a server; ``puts`` may be read at any time.

    ``began`` and ``ended`` are told of each write, by that thread.
    """

    puts: list[Put] = field(default_factory=list)
    began: Callable[[Put], None] = lambda put: None
    ended: Callable[[Put], None] = lambda put: None
    _blobs: dict[str, _Blob] = field(default_factory=dict)
    _staged: dict[str, dict[str, int]] = field(default_factory=dict)

    def kept(self, container: str) -> tuple[int, int]:
        """Blobs of a container, and their bytes."""
        sizes = [blob.size_bytes for path, blob in self._blobs.items() if path.startswith(f"{container}/")]
        return len(sizes), sum(sizes)

    def begin(self, request: Request) -> Put | None:
        """The head of a request came."""
        verb = request.verb
        if verb is None:
            return None
        block_id = request.query.get("blockid", "")
        put = Put(request.path, verb, block_id, request.body_bytes, time.monotonic())
        self.puts.append(put)
        self.began(put)
        return put

    def finish(self, request: Request, put: Put | None, body: bytes) -> bytes:
        """All of its body came; the answer. ``body`` may be left out for all but a block list."""
        answer = self._answer(request, put, body)
        if put is not None and answer.startswith(b"HTTP/1.1 201"):
            put.ended = time.monotonic()
            self.ended(put)
        return answer

    def _answer(self, request: Request, put: Put | None, body: bytes) -> bytes:
        if put is not None:
            return self._write(request, put, body)
        if request.method == "HEAD":
            return self._properties(request.path)
        if request.query.get("comp") == "blocklist":
            return self._block_list(request.path)
        return _said("201 Created")

    def _write(self, request: Request, put: Put, body: bytes) -> bytes:
        if put.verb == "block":
            self._staged.setdefault(put.path, {})[put.block_id] = put.body_bytes
        else:
            if request.headers.get("if-none-match") == "*" and put.path in self._blobs:
                return _said("409 Conflict", "x-ms-error-code: BlobAlreadyExists\r\n")
            staged = self._staged.pop(put.path, {})
            size = put.body_bytes
            if put.verb == "blocklist":
                size = sum(staged.get(found.decode("ascii"), 0) for found in _LISTED.findall(body))
            self._blobs[put.path] = _Blob(size, _metadata(request.headers))
        echo = request.headers.get("x-ms-content-crc64")
        return _said("201 Created", f"x-ms-content-crc64: {echo}\r\n" if echo else "")

    def _properties(self, path: str) -> bytes:
        blob = self._blobs.get(path)
        if blob is None:
            return _said("404 Not Found", "x-ms-error-code: BlobNotFound\r\n")
        head = "x-ms-blob-type: BlockBlob\r\nContent-Type: application/octet-stream\r\n" + blob.metadata
        return _said("200 OK", head, length=blob.size_bytes)

    def _block_list(self, path: str) -> bytes:
        if path not in self._staged:
            return _said("404 Not Found", "x-ms-error-code: BlobNotFound\r\n")
        blocks = "".join(
            f"<Block><Name>{escape(name)}</Name><Size>{size}</Size></Block>"
            for name, size in self._staged[path].items()
        )
        text = f'<?xml version="1.0"?><BlockList><UncommittedBlocks>{blocks}</UncommittedBlocks></BlockList>'
        return _said("200 OK", "Content-Type: application/xml\r\n", text.encode("utf-8"))


def _metadata(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name.startswith("x-ms-meta-"))


def _said(status: str, headers: str = "", body: bytes = b"", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\n{_FIXED}{headers}Content-Length: {size}\r\n\r\n".encode("latin-1") + body
