"""Reads metadata and properties files, the XML of which is as hostile as the drive that it lies on."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from agent.errors import MalformedInput
from agent.formats.manifest_values import HashedPath
from agent.formats.sax import PushXml
from agent.formats.sidefiles import MAX_SIDE_FILE_BYTES, SideFileTrouble, SideProperties
from agent.formats.violation import Violation, clip
from agent.model.codes import SideFileStatus

T = TypeVar("T")
MAX_METADATA_CHARS = 8192
"""The service's limit on all names and values of one blob together."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_HEADER_VALUE = re.compile(r"[ -~]*\Z", re.ASCII)
_FIELDS: Mapping[str, str] = {
    "Content-Type": "content_type",
    "Content-Encoding": "content_encoding",
    "Content-Language": "content_language",
    "Cache-Control": "cache_control",
}


def read_metadata(file: HashedPath, data: bytes) -> dict[str, str] | SideFileTrouble:
    """Names and values of a metadata file; ``data`` is the whole file that ``file`` names."""
    return _read(file, data, lambda: _metadata(data))


def read_properties(file: HashedPath, data: bytes) -> SideProperties | SideFileTrouble:
    """What a properties file sets; ``data`` is the whole file that ``file`` names."""
    return _read(file, data, lambda: _properties(data))


def _read(file: HashedPath, data: bytes, parse: Callable[[], T]) -> T | SideFileTrouble:
    if len(data) > MAX_SIDE_FILE_BYTES:
        return SideFileTrouble(
            SideFileStatus.XML_READ_FAILED,
            f"{clip(file.path)} has {len(data)} bytes, at most {MAX_SIDE_FILE_BYTES} are read",
        )
    if hashlib.md5(data, usedforsecurity=False).digest() != file.md5:
        return SideFileTrouble(
            SideFileStatus.CORRUPTED, f"{clip(file.path)} does not have the MD5 that the manifest tells"
        )
    try:
        return parse()
    except MalformedInput as error:
        return SideFileTrouble(SideFileStatus.XML_READ_FAILED, f"{clip(file.path)}, {error.detail}")


class _Flat:
    """The handler of both formats: one root, and children that hold text."""

    secret_elements: frozenset[str] = frozenset()

    def __init__(self, root: str, take: Callable[[str, str], None]) -> None:
        self._root = root
        self._take = take

    def knows(self, parent: str, tag: str) -> bool:
        return tag == self._root if not parent else True

    def instruction(self, target: str, text: str) -> None:
        """Nothing in this format depends on one."""

    def start(self, parent: str, tag: str, attributes: Mapping[str, str]) -> None:
        if parent not in ("", self._root):
            raise Violation("its value holds an element, and only text is allowed")

    def end(self, parent: str, tag: str, text: str) -> None:
        if parent:
            self._take(tag, text.strip())


def _parse(root: str, data: bytes, take: Callable[[str, str], None]) -> None:
    xml = PushXml(_Flat(root, take), MalformedInput)
    xml.feed(data)
    xml.close()


def _metadata(data: bytes) -> dict[str, str]:
    values: dict[str, str] = {}
    seen: set[str] = set()

    def take(name: str, value: str) -> None:
        if not _NAME.match(name):
            raise Violation("the service takes metadata names of letters, digits and underscores only")
        if name.lower() in seen:
            raise Violation("the name stands twice (case does not count)")
        seen.add(name.lower())
        values[name] = _header_value(value)

    _parse("Metadata", data, take)
    total = sum(len(name) + len(value) for name, value in values.items())
    if total > MAX_METADATA_CHARS:
        raise MalformedInput(f"{total} characters of metadata, at most {MAX_METADATA_CHARS} are allowed")
    return values


def _properties(data: bytes) -> SideProperties:
    texts: dict[str, str] = {}
    ignored: list[str] = []

    def take(name: str, value: str) -> None:
        if name not in _FIELDS and name != "Content-MD5":
            ignored.append(name)
        elif name in texts:
            raise Violation("the property stands twice")
        else:
            texts[name] = _header_value(value)

    _parse("Properties", data, take)
    md5 = texts.get("Content-MD5")
    return SideProperties(
        **{field_name: texts.get(name) for name, field_name in _FIELDS.items()},
        content_md5=_content_md5(md5) if md5 else None,
        ignored=tuple(ignored),
    )


def _header_value(value: str) -> str:
    if not _HEADER_VALUE.match(value):
        raise Violation(f"the value {clip(value)} holds a character that an HTTP header cannot carry")
    if len(value) > MAX_METADATA_CHARS:
        raise Violation(f"its value is longer than {MAX_METADATA_CHARS} characters")
    return value


def _content_md5(text: str) -> bytes:
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise MalformedInput(f"Content-MD5 {clip(text)} is not the Base64 of 16 bytes")
    return digest
