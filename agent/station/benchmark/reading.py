"""Reads a drive for a while as a transfer does: long reads in a row, or short ones a little apart."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from agent.station.benchmark.figures import Reading
from agent.volume.block import BlockSource, aligned_buffer

LONG_BYTES = 1024 * 1024
"""What a reader asks of a drive at once (``agent.volume.bitlocker.volume.WINDOW_BYTES``)."""
SHORT_BYTES = 64 * 1024
LONGEST_GAP_BYTES = 2 * 1024 * 1024
"""Small files in the order of the disk lie about so far apart."""

Clock = Callable[[], float]


def in_a_row(start: int, end: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of long reads."""
    for offset in range(start, end, LONG_BYTES):
        yield offset, min(LONG_BYTES, end - offset)


def a_little_apart(start: int, end: int, seed: int = 1) -> Iterator[tuple[int, int]]:
    """(offset, length) of short reads, in ascending order."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    offset = start
    while offset < end:
        yield offset, min(SHORT_BYTES, end - offset)
        offset += SHORT_BYTES + dice.randrange(0, LONGEST_GAP_BYTES, SHORT_BYTES)


def read_for(
    source: BlockSource,
    places: Iterator[tuple[int, int]],
    seconds: float,
    is_wanted: Callable[[], bool],
    clock: Clock = time.monotonic,
) -> Reading:
    """Read until the places, the seconds or the wish for it are over; blocks. Raises UnreadableSectors."""
    buffer = aligned_buffer(LONG_BYTES)
    done = reads = 0
    cpu_s, begun = time.thread_time(), clock()
    for offset, length in places:
        source.read_into(offset, buffer[:length])
        done, reads = done + length, reads + 1
        if clock() - begun >= seconds or not is_wanted():
            break
    return Reading(done, reads, clock() - begun, time.thread_time() - cpu_s)
