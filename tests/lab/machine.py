"""The running guest: started, told what to do, reset, saved, stopped.

    with laboratory.machine({1: Medium(image)}) as machine:
        machine.bay(1).insert()
        machine.until("runuser -u drive-ingest -- ingest-agent job list | grep -q Completed", timeout_s=120)

Every wait is by condition and has a generous limit: an emulated CPU on a busy host is slow.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.lab import disks
from tests.lab.bay import Bay
from tests.lab.board import Board, absent_text, command_line
from tests.lab.channel import Channel
from tests.lab.qmp import Qmp
from tests.lab.trouble import LabTrouble

BOOT_WITHIN_S: Final = 300.0
COMMAND_WITHIN_S: Final = 120.0
QUIT_WITHIN_S: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1
_CONSOLE_TAIL: Final = 3000


class Machine:
    """One guest, in its own folder, which goes with it. Use it by ``with``."""

    def __init__(self, board: Board, *, inserted: Collection[int] = ()) -> None:
        """``inserted``: bays with a drive in them as the guest boots (or as it was saved)."""
        self.board = board
        self._inserted = frozenset(inserted)
        self._bays = {
            bay: Bay(self, bay, drive) for bay, drive in zip(board.bays, board.chassis, strict=True)
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: Qmp | None = None
        self._channel: Channel | None = None

    # Life.

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """As by pulling its plug. A frozen QEMU does not quit, and is killed."""
        if self._channel:
            self._channel.close()
        if self._process and self._process.poll() is None:
            try:
                self.qmp("quit", within_s=QUIT_WITHIN_S)
                self._process.wait(QUIT_WITHIN_S)
            except (LabTrouble, OSError, subprocess.TimeoutExpired):
                self._process.kill()
                self._process.wait()
        if self._qmp:
            self._qmp.close()

    def reset(self) -> None:
        """A power cut and a boot: what the guest had not written is lost. Drives stay in their bays."""
        self.cut_power()
        self.wait_booted()

    def cut_power(self) -> None:
        """``reset`` without its wait; until ``wait_booted`` no command is answered."""
        self._control.forget()
        self.qmp("system_reset")

    def wait_booted(self) -> None:
        """Until systemd is done and udev has described the drives in the bays."""
        self._control.wait_hello(BOOT_WITHIN_S)
        self.set_clock()
        self.sh("systemctl is-system-running --wait > /dev/null || true", timeout_s=BOOT_WITHIN_S)
        for bay in sorted(self._inserted):
            self.bay(bay).wait_present()

    def save(self, state: Path) -> None:
        """The running guest into a file, from which ``Board.incoming`` goes on; this one is stopped by it.

        The board that goes on has the same chassis, and a child of this one's root.
        """
        self.sh("sync; echo 3 > /proc/sys/vm/drop_caches")
        self.qmp("stop")
        self.qmp("migrate", {"uri": f"exec:cat > {state}"})
        self._await_status("query-migrate", {"completed"}, {"failed", "cancelled"})
        self.stop()

    def set_clock(self) -> None:
        """A saved guest's clock stands where it was saved."""
        self.sh(f"date -s @{time.time():.3f} > /dev/null")

    # The guest.

    def sh(self, command: str, *, timeout_s: float = COMMAND_WITHIN_S) -> str:
        """What bash said on standard output, as root; raises CommandFailed unless it ended with 0."""
        return self._control.run(command, timeout_s).checked().out

    def try_sh(self, command: str, *, timeout_s: float = COMMAND_WITHIN_S) -> tuple[int, str]:
        """Exit code, and both outputs."""
        done = self._control.run(command, timeout_s)
        return done.code, done.out + done.err

    def until(self, command: str, *, timeout_s: float = COMMAND_WITHIN_S) -> str:
        """Again and again until it ends with 0; what it said then. CommandFailed has the last answer."""
        loop = (
            f"end=$((SECONDS + {int(timeout_s)}));"
            f" until said=$({command}\n); do"
            f' if [ $SECONDS -ge $end ]; then echo "$said"; exit 1; fi; sleep 0.3; done; echo "$said"'
        )
        return self.sh(loop, timeout_s=timeout_s + COMMAND_WITHIN_S)

    def put(self, path: str, data: bytes | str, *, mode: int = 0o644) -> None:
        """A file of the guest, with its folders; owned by root."""
        self._control.put(path, data.encode() if isinstance(data, str) else data, mode)

    def get(self, path: str) -> bytes:
        return self._control.get(path)

    def journal(self, unit: str = "drive-ingest-agent.service") -> str:
        """What a unit said, one line each, with times."""
        return self.sh(f"journalctl -q --no-pager -o short-precise -u {unit}")

    # The chassis.

    @property
    def bays(self) -> Sequence[Bay]:
        return list(self._bays.values())

    def bay(self, number: int) -> Bay:
        """From 1."""
        return self._bays[number]

    def move(self, source: int, target: int) -> None:
        """Take the drive out in order, and push it into another bay that was built for the same drive."""
        if self.bay(source).drive != self.bay(target).drive:
            raise ValueError(f"bay {target} was not built for the drive of bay {source}")
        self.bay(source).eject()
        self.bay(target).insert()

    def is_unchanged(self, bay: int) -> bool:
        """Whether every byte of the drive is still as its medium had it."""
        return disks.is_unchanged(self.board, bay)

    # What bays use of it.

    def qmp(
        self, command: str, arguments: dict[str, object] | None = None, *, within_s: float = COMMAND_WITHIN_S
    ) -> object:
        """QEMU's answer to a command."""
        assert self._qmp is not None
        return self._qmp.execute(command, arguments or {}, within_s)

    def gone(self, device: str) -> None:
        """Until QEMU has taken a device away."""
        assert self._qmp is not None
        self._qmp.wait_event("DEVICE_DELETED", {"device": device}, COMMAND_WITHIN_S)

    def mark_inserted(self, bay: int, *, inserted: bool) -> None:
        """Which bays have a drive as the guest boots next."""
        self._inserted = self._inserted | {bay} if inserted else self._inserted - {bay}
        self.board.absent.write_bytes(absent_text(self.board, self._inserted))

    # Start.

    def _start(self) -> None:
        disks.lay_out(self.board)
        self.board.absent.write_bytes(absent_text(self.board, self._inserted))
        with (self.board.folder / "qemu.err").open("wb") as said:
            self._process = subprocess.Popen(
                command_line(self.board),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                preexec_fn=_die_with_parent,
            )
        self._qmp = Qmp.connect(self.board.qmp_socket, self._check_alive)
        self._channel = Channel.connect(self.board.control_socket, self._check_alive)
        if self.board.incoming is None:
            self.wait_booted()
        else:
            self._await_status("query-status", {"paused", "running"}, {"internal-error", "shutdown"})
            self.qmp("cont")
            self.set_clock()

    def _await_status(self, question: str, good: set[str], bad: set[str]) -> None:
        deadline = time.monotonic() + COMMAND_WITHIN_S
        while True:
            answer = self.qmp(question)
            status = str(answer.get("status")) if isinstance(answer, dict) else "?"
            if status in good:
                return
            if status in bad or time.monotonic() > deadline:
                raise LabTrouble(f"{question}: {status}")
            time.sleep(0.02)

    @property
    def _control(self) -> Channel:
        assert self._channel is not None
        return self._channel

    def _check_alive(self) -> None:
        """Raises LabTrouble with what it said last, once QEMU has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise LabTrouble(f"QEMU ended with {self._process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """The end of the console and of QEMU's own complaints."""
        said = []
        for name in ("qemu.err", "console.log"):
            with suppress(OSError):
                said.append((self.board.folder / name).read_text(errors="replace")[-_CONSOLE_TAIL:])
        return "\n".join(said)


def _die_with_parent() -> None:
    """In the child: the kernel ends it when the thread that started it ends, however that comes."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
