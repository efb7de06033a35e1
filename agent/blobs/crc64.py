"""CRC-64/NVME, which is what the Blob service calls ``x-ms-content-crc64``."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import anycrc

_model = anycrc.Model("CRC64-NVME")


def crc64(pieces: Iterable[memoryview | bytes]) -> int:
    """The checksum of the pieces in order, as an unsigned number."""
    value: int = _model.calc(b"")
    for piece in pieces:
        value = _model.calc(piece, value)
    return value


def combine(first: int, second: int, second_length: int) -> int:
    """The checksum of A+B from those of A and B and the length of B in bytes."""
    value: int = _model.combine(first, second, second_length)
    return value


def header(value: int) -> str:
    """As it stands in the request header: Base64 of eight little-endian bytes."""
    return base64.b64encode(value.to_bytes(8, "little")).decode("ascii")
