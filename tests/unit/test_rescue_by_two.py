"""Two threads at one range of a failing drive: what one does between any two steps of the other."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import pytest

from agent.errors import UnreadableSectors
from agent.volume.block import BytesSource
from agent.volume.rescue import RescueSource
from tests.kit.faults import FaultySource

BLOCK = 4096
CONTENT = bytes(range(1, 256)) * 1024
STALE = 0xEE
"""What the ring held before."""


class Interrupting:
    """A lock at whose ``at``-th taking somebody else is let in first."""

    def __init__(self) -> None:
        self.taken = 0
        self.at = -1
        self.meanwhile: Callable[[], object] = lambda: None

    def __enter__(self) -> None:
        self.taken += 1
        if self.taken == self.at:
            self.meanwhile()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class Pair:
    """A drive with a fault, noted in the first sweep; then it is read anew."""

    def __init__(self, faults: str) -> None:
        self.lock = Interrupting()
        self.drive = FaultySource(BytesSource(CONTENT), faults, BLOCK)
        self.rescue = RescueSource(self.drive, self.drive.clock, lock=self.lock)
        self.rescue.retrying = False
        self.read()
        self.rescue.retrying = True

    def read(self, offset: int = 0, length: int = 4 * BLOCK) -> bytes | None:
        """What the buffer holds after a read that was said to have succeeded."""
        buffer = bytearray([STALE]) * length
        try:
            self.rescue.read_into(offset, memoryview(buffer))
        except UnreadableSectors:
            return None
        return bytes(buffer)

    def mend(self) -> None:
        """The sectors answer again, and another thread reads them."""
        self.drive.mend()
        self.read()

    def come_back(self) -> None:
        """The drive was away; another thread finds that out, and what it noted is forgotten."""
        self.drive.mend()
        self.rescue.recovered()

    def go(self) -> None:
        """The drive goes away; another thread finds that out, and what it noted is forgotten."""
        self.drive.gone = True
        self.read()
        self.rescue.why_gone()


@pytest.mark.parametrize("meanwhile", [Pair.mend, Pair.come_back, Pair.go])
@pytest.mark.parametrize("faults", [".E..", "E.E.", "EEEE", ".R.E"])
def test_what_another_thread_finds_out_is_never_taken_for_bytes_of_ones_own(
    faults: str, meanwhile: Callable[[Pair], None]
) -> None:
    alone = Pair(faults)
    noted = alone.lock.taken
    alone.read()
    steps = alone.lock.taken - noted
    assert steps > 10
    results = set()
    for step in range(1, steps + 1):
        for again in (False, True):
            pair = Pair(faults)
            if again:
                pair.read()
            pair.lock.at = pair.lock.taken + step
            pair.lock.meanwhile = lambda pair=pair: meanwhile(pair)  # type: ignore[misc]
            results.add(pair.read())
    assert results <= {None, CONTENT[: 4 * BLOCK]}
