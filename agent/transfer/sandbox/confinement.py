"""All walls around a process at once, and what is truly in force."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from agent.transfer.sandbox import landlock, limits, seccomp
from agent.transfer.sandbox.imports import import_late_modules
from agent.transfer.sandbox.kernel import Lacking

OPEN_FILES = 64
ENTERED = "agent.sandbox.enter"
"""The audit event (sys.addaudithook) after which nothing can be imported or opened any more."""

Wall = Callable[[], str]
"""Puts itself in force and says so. Raises Lacking or OSError when it cannot."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """``in_force`` are the walls that stand, ``lacking`` those that do not, and why."""

    in_force: tuple[str, ...]
    lacking: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """One line for a log."""
        said = ", ".join(self.in_force)
        return f"{said}; lacking: {', '.join(self.lacking)}" if self.lacking else said


NOT_CONFINED = Confinement((), ("confinement",))


def enter(
    *,
    memory_bytes: int,
    cpu_s: int,
    file_bytes: int | None,
    open_files: int = OPEN_FILES,
    dies_with_parent: bool = False,
) -> Confinement:
    """Confine the calling process for good, and every thread that it starts from now on.

    Afterwards it can read and write what is open, compute, and start threads; it can open nothing,
    connect nowhere, start no program, signal nobody, and make no memory executable. So everything
    must be imported and open before, and threads are best started after: Landlock and capabilities
    bind only the caller of those that run already.

    ``memory_bytes`` and ``cpu_s`` are what it may use beyond what it used before; ``file_bytes``
    bounds the size to which a file can be written, and None leaves that limit alone. With
    ``dies_with_parent`` it ends when the thread that started it does. A wall that the kernel lacks or
    refuses is told in the result; nothing is raised for it.
    """
    import_late_modules()
    # Landlock hides /proc, and the filter forbids the calls that walls are made of: they come last.
    walls: list[tuple[str, Wall | None]] = [
        ("no new privileges", limits.forgo_privileges),
        ("no core dumps", limits.hide_memory),
        ("end with the parent", limits.die_with_parent if dies_with_parent else None),
        ("memory limit", partial(limits.limit_memory, memory_bytes)),
        ("CPU limit", partial(limits.limit_cpu, cpu_s)),
        ("file limit", partial(limits.limit_files, file_bytes) if file_bytes is not None else None),
        ("descriptor limit", partial(limits.limit_descriptors, open_files)),
        ("no capabilities", limits.drop_capabilities),
        ("Landlock", landlock.restrict),
        ("seccomp", seccomp.install),
    ]
    confinement = _raise([(name, wall) for name, wall in walls if wall is not None])
    sys.audit(ENTERED)
    return confinement


def _raise(walls: list[tuple[str, Wall]]) -> Confinement:
    in_force: list[str] = []
    lacking: list[str] = []
    if others := _other_threads():
        lacking.append(f"Landlock over {others} threads that ran before")
    for name, wall in walls:
        try:
            in_force.append(wall())
        except Lacking as reason:
            lacking.append(f"{name} ({reason})")
        except OSError as error:
            lacking.append(f"{name} ({error.strerror})")
    return Confinement(tuple(in_force), tuple(lacking))


def _other_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task")) - 1
    except OSError:
        return 0
