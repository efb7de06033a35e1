"""Heads of the requests that write, made of little more than what differs between them.

Facts of the service's REST reference: the headers of Put Blob, Put Block, Put Block List and Put
Page; and "Authorize with Shared Key" for the signature.
"""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, urlsplit

from agent.blobs import rules
from agent.blobs.azure_account import Account, AccountKey, SharedSignature
from agent.blobs.crc64 import header
from agent.blobs.store import Replace
from agent.blobs.wire.dial import Route
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.identity import ContainerName

if TYPE_CHECKING:
    from agent.blobs.entra import Tokens

CRC64_HEADER = "x-ms-content-crc64"


Right: TypeAlias = "AccountKey | SharedSignature | Tokens | None"
"""By what requests are let in: an account key, a SAS, tokens, or what everybody may do."""

_Headers = list[tuple[str, str]]

_SAFE = re.compile(r"[A-Za-z0-9_.~/ -]*\Z")
_SAS_SAFE = "%&=/?:@!$'()*+,;~"


class Heads:
    """Of requests to one account. ``str`` and ``repr`` show no credential."""

    def __init__(
        self,
        account: Account,
        right: Right,
        route: Route,
        api_version: str,
    ) -> None:
        parts = urlsplit(account.endpoint)
        self._account = account.name
        self._path = parts.path
        self._origin = f"{parts.scheme}://{parts.netloc}" if route.is_relayed else ""
        self._fixed = f"Host: {parts.netloc}\r\nUser-Agent: drive-ingest-agent\r\n"
        if route.is_relayed and route.proxy is not None:
            self._fixed += route.proxy.authorization
        self._version = ("x-ms-version", api_version)
        self._date = (0, "")
        self.use(right)

    def use(self, right: Right) -> None:
        """For all heads from now on."""
        self._key: bytes | None = None
        self._sas = ""
        self.bearer = ""
        """The token, set before each head where the right is tokens."""
        if isinstance(right, AccountKey):
            self._key = right.key
        elif isinstance(right, SharedSignature):
            self._sas = quote(right.query, safe=_SAS_SAFE)

    def create_container(self, container: ContainerName) -> bytes:
        """A container, for which there is no body."""
        return self._head(f"/{container}", {"restype": "container"}, [], 0)

    def properties(self, name: BlobName) -> bytes:
        """A question for the headers of a blob; its answer has no body."""
        return self._head(_path(name), {}, [], 0, verb="HEAD")

    def uncommitted_blocks(self, name: BlobName) -> bytes:
        """A question for a list of blocks."""
        return self._head(
            _path(name), {"blocklisttype": "uncommitted", "comp": "blocklist"}, [], 0, verb="GET"
        )

    def put_blob(
        self, name: BlobName, length: int, crc64: int | None, attributes: BlobAttributes, *, replace: Replace
    ) -> bytes:
        """A whole block blob; without ``crc64`` when the attributes have an MD5, which is checked then."""
        headers = _described(attributes)
        headers.append(("x-ms-blob-type", "BlockBlob"))
        if crc64 is not None:
            headers.append((CRC64_HEADER, header(crc64)))
        return self._head(_path(name), {}, headers, length, replace=replace)

    def put_block(self, name: BlobName, block_id: str, length: int, crc64: int) -> bytes:
        """One block."""
        query = {"blockid": block_id, "comp": "block"}
        return self._head(_path(name), query, [(CRC64_HEADER, header(crc64))], length)

    def put_block_list(
        self, name: BlobName, length: int, crc64: int, attributes: BlobAttributes, *, replace: Replace
    ) -> bytes:
        """A commit; length and CRC-64 are those of the list."""
        headers = [*_described(attributes), (CRC64_HEADER, header(crc64))]
        return self._head(_path(name), {"comp": "blocklist"}, headers, length, replace=replace)

    def put_page(self, name: BlobName, offset: int, length: int, crc64: int) -> bytes:
        """A range of pages."""
        headers = [
            ("x-ms-page-write", "update"),
            ("x-ms-range", f"bytes={offset}-{offset + length - 1}"),
            (CRC64_HEADER, header(crc64)),
        ]
        return self._head(_path(name), {"comp": "page"}, headers, length)

    def _head(
        self,
        path: str,
        query: Mapping[str, str],
        headers: _Headers,
        length: int,
        *,
        replace: Replace = True,
        verb: str = "PUT",
    ) -> bytes:
        """``path`` is quoted and without the endpoint's; ``query`` in the order of its keys."""
        path = self._path + path
        match, none_match = "" if isinstance(replace, bool) else replace, "" if replace else "*"
        headers.append(self._version)
        asked = "&".join([f"{key}={quote(value, safe='')}" for key, value in query.items()])
        authorization = ""
        if self._key is not None:
            headers.append(("x-ms-date", self._now()))
            signature = self._signature(verb, path, query, headers, length, (match, none_match))
            authorization = f"Authorization: SharedKey {self._account}:{signature}\r\n"
        elif self.bearer:
            headers.append(("x-ms-date", self._now()))
            authorization = f"Authorization: Bearer {self.bearer}\r\n"
        elif self._sas:
            asked = f"{asked}&{self._sas}" if asked else self._sas
        lines = "".join([f"{key}: {value}\r\n" for key, value in headers])
        target = f"{self._origin}{path}?{asked}" if asked else f"{self._origin}{path}"
        condition = f"If-Match: {match}\r\n" if match else "If-None-Match: *\r\n" if none_match else ""
        size = f"Content-Length: {length}\r\n" if verb == "PUT" else ""
        return (
            f"{verb} {target} HTTP/1.1\r\n{self._fixed}{authorization}{condition}{lines}{size}\r\n"
        ).encode("ascii")

    def _signature(
        self,
        verb: str,
        path: str,
        query: Mapping[str, str],
        headers: _Headers,
        length: int,
        matches: tuple[str, str],
    ) -> str:
        assert self._key is not None
        # Verb, Content-Encoding, -Language, -Length, -MD5, -Type, Date, If-Modified-Since, If-Match,
        # If-None-Match, If-Unmodified-Since, Range; those that we do not send are empty.
        plain = f"{verb}\n\n\n{length or ''}\n\n\n\n\n{matches[0]}\n{matches[1]}\n\n\n"
        named = sorted((_rank(key), key.lower(), value) for key, value in headers)
        of_service = "".join([f"{key}:{value}\n" for _, key, value in named])
        resource = f"/{self._account}{path}" + "".join([f"\n{key}:{query[key]}" for key in query])
        text = (plain + of_service + resource).encode("utf-8")
        return base64.b64encode(hmac.digest(self._key, text, "sha256")).decode("ascii")

    def _now(self) -> str:
        second = int(time.time())
        if second != self._date[0]:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]


def block_list(block_ids: Iterable[str]) -> bytes:
    """The body of a commit: of each id the block staged last, else the committed one."""
    rows = "".join([f"<Latest>{block_id}</Latest>" for block_id in block_ids])
    return f'<?xml version="1.0" encoding="utf-8"?>\n<BlockList>{rows}</BlockList>'.encode("ascii")


def _path(name: BlobName) -> str:
    return f"/{name.container}/{_quoted(name.path)}"


def _quoted(path: str) -> str:
    """As ``quote`` does; nearly all paths hold nothing else to be escaped than blanks."""
    return path.replace(" ", "%20") if _SAFE.match(path) else quote(path, safe="/~")


def _described(attributes: BlobAttributes) -> _Headers:
    """Attributes that ``rules.check_attributes`` found good."""
    headers = [(f"x-ms-meta-{key}", value) for key, value in rules.encoded(attributes.metadata).items()]
    md5 = attributes.content_md5
    for key, value in (
        ("x-ms-blob-content-type", attributes.content_type),
        ("x-ms-blob-content-encoding", attributes.content_encoding),
        ("x-ms-blob-content-language", attributes.content_language),
        ("x-ms-blob-cache-control", attributes.cache_control),
        ("x-ms-blob-content-md5", base64.b64encode(md5).decode("ascii") if md5 is not None else None),
        ("x-ms-access-tier", attributes.tier),
    ):
        if value is not None:
            headers.append((key, value))
    return headers


def _rank(key: str) -> str:
    """The service sorts names as text of a language: hyphens do not count, "_" goes before digits."""
    return key.lower().replace("-", "").replace("_", "!")
