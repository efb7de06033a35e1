"""The reader's own walls: how high they are for a drive, and when it has hung."""

from __future__ import annotations

import signal

from agent.transfer import sandbox
from agent.transfer.frames import BlockingChannel, Message
from agent.transfer.sandbox import Confinement

STALL_CPU_S = 1800.0
"""CPU time between two messages: the longest, a listing's first pass over ten million directories on a
slow machine, takes a quarter of it."""


def confine(drive_bytes: int) -> Confinement:
    """Confine this process to reading a drive of that size and answering its uploader, for good."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _restart_watch()
    return sandbox.enter(
        memory_bytes=sandbox.MEMORY_BYTES,
        cpu_s=sandbox.cpu_s_for(drive_bytes),
        file_bytes=sandbox.scratch_bytes_for(drive_bytes),
        dies_with_parent=True,
    )


class WatchedChannel(BlockingChannel):
    """Ends the process by SIGPROF when it computes for STALL_CPU_S without a message sent or received.

    A structure on the drive that makes the reader turn in circles is so one event, and not a bay that
    is taken for ever.
    """

    def send(self, message: Message) -> None:
        super().send(message)
        _restart_watch()

    def receive(self) -> Message | None:
        message = super().receive()
        _restart_watch()
        return message


def _restart_watch() -> None:
    signal.setitimer(signal.ITIMER_PROF, STALL_CPU_S)
