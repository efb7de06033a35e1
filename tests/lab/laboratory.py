"""From nothing to machines at will: guest built, booted once, our package installed in it, saved.

with Laboratory.opened(chassis, prepare) as laboratory:
    with laboratory.machine({1: Medium(image)}, service_port=10000) as machine:   # 1 s: from the saved state
        ...
    with laboratory.booting({1: Medium(image)}, inserted=[1]) as machine:         # 20 s: from power on
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.lab import package, store
from tests.lab.board import Board
from tests.lab.drive import Drive, Medium
from tests.lab.guest import Guest, built
from tests.lab.machine import Machine
from tests.lab.overlay import overlay

STATE: Final = "machine.state"
ROOT: Final = "root.qcow2"

Prepare = Callable[[Machine], None]
"""What is done once in the guest, with our package installed, before it is saved."""


class Laboratory:
    """One guest at a time on this machine; see ``opened``."""

    def __init__(self, guest: Guest, saved: Path, chassis: Sequence[Drive]) -> None:
        self._guest, self._saved, self._chassis = guest, saved, tuple(chassis)

    @classmethod
    @contextmanager
    def opened(cls, chassis: Sequence[Drive], prepare: Prepare) -> Iterator[Laboratory]:
        """Builds what is not built yet. Raises LabMissing where there can be no laboratory.

        ``chassis`` is the drive of bay 1, of bay 2, …: what drives say of themselves is part of the saved
        state. ``prepare`` may start the service; what it did is in every machine.
        """
        with store.locked():
            guest, deb = built(), package.newest()
            key = store.key_of_saved(
                guest.maker.read_bytes(), deb.read_bytes(), store.sources_with(prepare), chassis
            )
            saved = store.STORE / f"saved-{key}"
            if not saved.exists():
                with store.making(saved.name) as folder:
                    _save(guest, folder, deb, chassis, prepare)
            yield cls(guest, saved, chassis)

    @contextmanager
    def machine(
        self, media: Mapping[int, Medium] | None = None, *, service_port: int | None = None
    ) -> Iterator[Machine]:
        """A guest that goes on from the saved state: all bays are empty, ``media`` lie beside them.

        ``service_port``: the host's port that the guest finds as ``board.SERVICE_IN_GUEST``.
        """
        with store.run_folder() as folder:
            board = self._board(folder, media or {}, service_port, self._saved / STATE)
            with Machine(board) as machine:
                yield machine

    @contextmanager
    def booting(
        self,
        media: Mapping[int, Medium] | None = None,
        *,
        inserted: Collection[int] = (),
        service_port: int | None = None,
    ) -> Iterator[Machine]:
        """A guest from power on, with drives in these bays; it was prepared like the others."""
        with store.run_folder() as folder:
            board = self._board(folder, media or {}, service_port, None)
            with Machine(board, inserted=inserted) as machine:
                yield machine

    def _board(
        self, folder: Path, media: Mapping[int, Medium], service_port: int | None, incoming: Path | None
    ) -> Board:
        root = overlay(self._saved / ROOT, folder / ROOT)
        return Board(
            kernel=self._guest.kernel,
            initramfs=self._guest.initramfs,
            root=root,
            folder=folder,
            chassis=self._chassis,
            media=media,
            service_port=service_port,
            incoming=incoming,
        )


def _save(guest: Guest, saved: Path, deb: Path, chassis: Sequence[Drive], prepare: Prepare) -> None:
    root = overlay(guest.root, saved / ROOT)
    with store.run_folder() as folder:
        board = Board(guest.kernel, guest.initramfs, root, folder, chassis, cargo=deb)
        with Machine(board) as machine:
            package.install(machine)
            prepare(machine)
            machine.save(saved / STATE)
