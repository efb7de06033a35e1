"""What every sector cipher is, and what they share: an endless AES-ECB pass and a pool of scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

BLOCK_BYTES = 16
WINDOW_BYTES = 512 * 1024
"""Ciphertext, tweaks and plaintext of one window stay in a core's second-level cache (measured)."""

Words = npt.NDArray[np.uint64]
HalfWords = npt.NDArray[np.uint32]


class SectorCipher(Protocol):
    """Decrypts whole sectors in place. Thread-safe; holds a key and never prints it."""

    @property
    def sector_size(self) -> int:
        """Bytes of a sector."""
        ...

    def decrypt(self, offset: int, buffer: memoryview) -> None:
        """Decrypt ``buffer`` in place.

        ``buffer`` is writable, contiguous, format B and a multiple of the sector size long;
        ``offset`` is where its first byte lies on the volume, also a multiple. Both are asserted.
        """
        ...


@dataclass(frozen=True, slots=True)
class CipherSuite:
    """A cipher by name, the length of its volume key in bytes, and how to make it of (key, sector size)."""

    name: str
    key_bytes: int
    make: Callable[[bytes, int], SectorCipher]


class EcbPass:
    """AES of independent blocks, in either direction, without per-call set-up.

    A block cipher without chaining or padding has no state between calls, so one context serves for
    ever; it is not thread-safe.
    """

    def __init__(self, key: bytes, *, decrypt: bool) -> None:
        cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - the chaining is done by the caller
        self._context: CipherContext = cipher.decryptor() if decrypt else cipher.encryptor()

    def run(self, source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
        """All bytes of ``source`` (contiguous) into ``target``, at least BLOCK_BYTES - 1 bytes longer."""
        self._context.update_into(source.reshape(-1).view(np.uint8), target)  # type: ignore[arg-type]


def padded(size_bytes: int) -> npt.NDArray[np.uint8]:
    """A buffer with the slack that EcbPass wants behind its target; use ``[:size_bytes]``."""
    return np.empty(size_bytes + BLOCK_BYTES, np.uint8)


LaneT = TypeVar("LaneT")


class Lanes(Generic[LaneT]):
    """Scratch buffers and AES contexts, lent to one caller at a time.

    Threads that decrypt at the same time each get their own lane and nobody waits; ``list.append``
    and ``list.pop`` are atomic, so no lock is needed. There are never more lanes than there were
    concurrent callers.
    """

    def __init__(self, make: Callable[[], LaneT]) -> None:
        self._make = make
        self._free: list[LaneT] = []

    @contextmanager
    def lend(self) -> Iterator[LaneT]:
        try:
            lane = self._free.pop()
        except IndexError:
            lane = self._make()
        try:
            yield lane
        finally:
            self._free.append(lane)

    def __repr__(self) -> str:
        return f"Lanes({len(self._free)} free)"


def windows(
    offset: int, buffer: memoryview, sector_size: int, window_bytes: int
) -> Iterator[tuple[int, memoryview]]:
    """``buffer`` in pieces of at most ``window_bytes``, each with its offset on the volume."""
    assert offset % sector_size == 0, f"offset {offset} is not at a sector of {sector_size} bytes"
    assert len(buffer) % sector_size == 0, f"{len(buffer)} bytes are no whole sectors of {sector_size} bytes"
    for start in range(0, len(buffer), window_bytes):
        yield offset + start, buffer[start : start + window_bytes]
