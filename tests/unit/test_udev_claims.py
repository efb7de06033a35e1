"""A drive that hangs in the kernel holds up no other, and no second thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent.devices import claims as claims_module
from agent.devices.claims import Claim, Claims
from agent.devices.facts import DriveFacts
from agent.threads import in_thread

GOOD = DriveFacts("sda", "/dev/sda", 0x800, "1", 512, 512, "/sys/devices/sda", is_virtual=False)
HUNG = replace(GOOD, name="sdb", node="/dev/sdb")
TAKEN = replace(GOOD, name="sdc", node="/dev/sdc")
GONE = replace(GOOD, name="sdd", node="/dev/sdd")


class _Kernel:
    """Answers for each node, some of them when it lets go."""

    def __init__(self) -> None:
        self.lets_go = threading.Event()
        self.asked: list[str] = []

    def is_claimed(self, node: str) -> bool:
        self.asked.append(node)
        if node == HUNG.node:
            self.lets_go.wait()
        if node == GONE.node:
            raise FileNotFoundError(node)
        return node == TAKEN.node


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Kernel]:
    made = _Kernel()
    monkeypatch.setattr(claims_module, "is_claimed", made.is_claimed)
    monkeypatch.setattr(claims_module, "ANSWER_WITHIN_S", 0.2)
    yield made
    made.lets_go.set()


async def test_others_are_answered_while_one_hangs(kernel: _Kernel) -> None:
    claims = Claims()
    found = await claims.ask([GOOD, HUNG, TAKEN, GONE])
    assert found == {
        GOOD.key: Claim.FREE,
        HUNG.key: Claim.SILENT,
        TAKEN.key: Claim.CLAIMED,
        GONE.key: Claim.FREE,
    }
    assert (await claims.ask([GOOD, HUNG]))[HUNG.key] is Claim.SILENT
    assert kernel.asked.count(HUNG.node) == 1
    assert kernel.asked.count(GOOD.node) == 2


async def test_one_that_comes_to_itself_is_asked_anew(kernel: _Kernel) -> None:
    claims = Claims()
    assert await claims.ask([HUNG]) == {HUNG.key: Claim.SILENT}
    kernel.lets_go.set()
    while (await claims.ask([HUNG, GOOD]))[HUNG.key] is Claim.SILENT:
        pass
    assert await claims.ask([HUNG]) == {HUNG.key: Claim.FREE}


async def test_one_that_is_pulled_is_forgotten_while_it_hangs(kernel: _Kernel) -> None:
    claims = Claims()
    await claims.ask([HUNG])
    claims.forget(set())
    assert await claims.ask([]) == {}
    kernel.lets_go.set()


async def test_what_a_thread_raises_is_raised_where_it_is_awaited() -> None:
    def fail() -> None:
        raise FileNotFoundError("x")

    with pytest.raises(FileNotFoundError, match="x"):
        await in_thread(fail)
    assert await in_thread(lambda: 7) == 7
