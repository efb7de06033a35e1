"""A drive in memory that notes how it is read."""

from __future__ import annotations

from agent.errors import DiskOperationFailed, UnreadableSectors


class CheckedDrive:
    """A BlockSource over bytes of which the ranges ``bad`` cannot be read.

    ``wrong`` gets a sentence for each request that should not have come. Everything above holds ranges
    against its own size, so a request outside of the drive, or after ``confine`` outside of the volume,
    is a check that is missing.
    """

    def __init__(
        self,
        data: bytearray,
        sector_size: int,
        bad: tuple[tuple[int, int], ...] = (),
        size_bytes: int | None = None,
    ) -> None:
        """Past the end of ``data``, up to ``size_bytes``, there are zeros."""
        self.size_bytes = len(data) if size_bytes is None else size_bytes
        self.sector_size = sector_size
        self.reads = 0
        self.bytes_read = 0
        self.wrong: list[str] = []
        self._data = data
        self._bad = bad
        self._allowed = range(self.size_bytes + 1)

    def confine(self, start: int, size_bytes: int) -> None:
        """From now on only this part may be asked for."""
        self._allowed = range(start, start + size_bytes + 1)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        length = len(buffer)
        end = offset + length
        if buffer.readonly or buffer.format != "B" or not buffer.c_contiguous:
            self._blame(f"a buffer of format {buffer.format} (read-only: {buffer.readonly}) was handed in")
        if offset not in self._allowed or end not in self._allowed:
            self._blame(
                f"bytes {offset}..{end} were asked for, outside of "
                f"{self._allowed.start}..{self._allowed.stop - 1}"
            )
        if offset < 0 or end > self.size_bytes:
            raise DiskOperationFailed(f"bytes {offset}..{end} of a drive of {self.size_bytes}")
        for start, size in self._bad:
            if start < end and offset < start + size:
                raise UnreadableSectors(start, size)
        self.reads += 1
        self.bytes_read += length
        held = self._data[offset:end]
        buffer[: len(held)] = held
        buffer[len(held) :] = bytes(length - len(held))

    def _blame(self, why: str) -> None:
        if len(self.wrong) < 10:
            self.wrong.append(why)
