"""Small reads served out of the last few windows of a slower source."""

from __future__ import annotations

from agent.errors import UnreadableSectors
from agent.volume.block import BlockSource, aligned_buffer, check_range, wishing

DEFAULT_WINDOW_BYTES = 512 * 1024
"""Where bulk decryption is fastest, and a fair price of one seek."""

KEPT_WINDOWS = 8


class WindowCache:
    """A BlockSource over another one that reads aligned windows and keeps the last few.

    Neighbouring small files and MFT records so cost one read of the layer below. A read of a window
    or more goes straight through into the caller's buffer and is not kept. Where a window cannot be
    read as a whole, exactly the bytes that were asked for are tried, so that a bad sector costs the
    files that lie on it and not their neighbours; a window is only a wish (see ``block.wishing``).

    Thread-safe without a lock: the kept windows are one immutable tuple that is replaced; a race
    costs a second read at worst.
    """

    def __init__(self, source: BlockSource, window_bytes: int = DEFAULT_WINDOW_BYTES) -> None:
        if window_bytes < source.sector_size or window_bytes % source.sector_size:
            raise ValueError(f"a window of {window_bytes} bytes is no multiple of {source.sector_size}")
        self._source = source
        self._window_bytes = window_bytes
        self._kept: tuple[tuple[int, memoryview], ...] = ()
        self.size_bytes = source.size_bytes
        self.sector_size = source.sector_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        check_range(self, offset, len(buffer))
        if len(buffer) >= self._window_bytes:
            self._source.read_into(offset, buffer)
            return
        done = 0
        while done < len(buffer):
            index, inside = divmod(offset + done, self._window_bytes)
            wanted = min(len(buffer) - done, self._window_bytes - inside)
            self._copy(index, inside, buffer[done : done + wanted])
            done += wanted

    def _copy(self, index: int, inside: int, part: memoryview) -> None:
        try:
            window = self._window(index)
        except UnreadableSectors:
            self._source.read_into(index * self._window_bytes + inside, part)
            return
        part[:] = window[inside : inside + len(part)]

    def _window(self, index: int) -> memoryview:
        kept = self._kept
        for pair in kept:
            if pair[0] == index:
                return pair[1]
        start = index * self._window_bytes
        window = aligned_buffer(min(self._window_bytes, self.size_bytes - start))
        with wishing():
            self._source.read_into(start, window)
        self._kept = ((index, window), *kept[: KEPT_WINDOWS - 1])
        return window
