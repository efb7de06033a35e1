"""udevd in namespaces of its own, and loop devices that udev rules dress up as drives; needs root.

The kernel tells every network namespace of its events; what udevd makes of them stays in this one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

CHECKOUT = Path(__file__).parents[2]
RULES = CHECKOUT / "systemd/60-drive-ingest.rules"
UDEVD: Final = Path("/lib/systemd/systemd-udevd")
LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81
"""linux/loop.h"""
WAIT_S = 120
HEARS_WITHIN_S = 30
FOLDER: Final = "UDEVD_KIT_FOLDER"
"""Set where is_here()."""

# No devtmpfs of its own: nodes of loop devices are the machine's. Ends when nobody holds its input.
_INSIDE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run/udev
mkdir -p /run/udev/rules.d /dev/disk
cp "$1"/rules.d/* /run/udev/rules.d/
mount -t tmpfs tmpfs /dev/disk
{udevd} --resolve-names=never 2>"$1"/udevd.log &
tries=0
until udevadm control --ping --timeout=5 2>/dev/null; do
    tries=$((tries + 1))
    kill -0 $! && [ $tries -lt 200 ] || exit 1
    sleep 0.1
done
echo ready
read -r _ || true
udevadm control --exit
"""

# What udev's own programs tell of a real drive stands in a file beside the image.
_DRESS = """\
SUBSYSTEM=="block", KERNEL=="loop*", ENV{{DEVTYPE}}=="disk", ACTION!="remove", \
ATTR{{loop/backing_file}}=="{folder}/*", IMPORT{{file}}="$attr{{loop/backing_file}}.udev"
SUBSYSTEM=="block", KERNEL=="loop*p*", ENV{{DEVTYPE}}=="partition", IMPORT{{parent}}="ID_*"
"""


def missing() -> str | None:
    """Why this cannot be had here; None when it can."""
    if os.geteuid() != 0:
        return "needs root: loop devices and namespaces"
    for program in ("unshare", "nsenter", "losetup", "partx", "udevadm", "blockdev", "setpriv"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not UDEVD.exists():
        return "udev is not installed"
    return None if Path("/dev/loop-control").exists() else "this kernel has no loop devices"


@dataclass(frozen=True)
class LoopDrive:
    """An image attached as a drive."""

    node: Path
    number: int
    image: Path

    @property
    def folder(self) -> Path:
        return Path("/sys/block") / self.node.name


class Machine:
    """The namespaces, and the drives that are in its bays. Without a process: those that we are in."""

    def __init__(self, folder: Path, process: subprocess.Popen[str] | None = None) -> None:
        self.folder, self._process = folder, process
        self._drives: dict[int, LoopDrive] = {}

    @property
    def log(self) -> Path:
        """What udevd said, such as of rules that it does not understand."""
        return self.folder / "udevd.log"

    def inside(self, *command: str) -> list[str]:
        """The command line of something that runs there."""
        if self._process is None:
            return list(command)
        return ["nsenter", "-t", str(self._process.pid), "-n", "-m", *command]

    def settle(self) -> None:
        """Until udevd has nothing left to do."""
        subprocess.run(self.inside("udevadm", "settle", "-t", "30"), check=True, timeout=WAIT_S)

    def insert(self, image: Path, properties: Mapping[str, str], *, partitions: bool = False) -> LoopDrive:
        """Attach a copy of the image as a drive of which udev tells these properties."""
        number = _add_loop()
        copy = self.folder / "images" / f"{number}.img"
        shutil.copyfile(image, copy)
        lines = "".join(f"{name}={value}\n" for name, value in properties.items())
        Path(f"{copy}.udev").write_text(lines)
        drive = LoopDrive(Path(f"/dev/loop{number}"), number, copy)
        self._drives[number] = drive
        subprocess.run(["losetup", drive.node, copy], check=True)
        self.settle()
        if partitions:
            subprocess.run(["partx", "-a", drive.node], check=True)
            self.settle()
        return drive

    def pull(self, drive: LoopDrive) -> None:
        """Its medium vanishes, whoever reads it; then the device, when everybody has let go of it."""
        del self._drives[drive.number]
        os.truncate(drive.image, 0)
        subprocess.run(["losetup", "--set-capacity", drive.node], check=False)
        _remove_loop(drive)

    def pull_all(self) -> None:
        for drive in list(self._drives.values()):
            self.pull(drive)

    def close(self) -> None:
        self.pull_all()
        if self._process is not None:
            _end(self._process)

    def why_deaf(self) -> str | None:
        """Why udevd can describe no drive here, such as in a user namespace; None when it can."""
        image = self.folder / "probe"
        image.write_bytes(bytes(1 << 20))
        try:
            drive = self.insert(image, {"ID_BUS": "probe"})
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            return f"no loop device can be made here: {error}"
        info = self.inside("udevadm", "info", "-q", "property", str(drive.node))

        def is_described() -> bool:
            done = subprocess.run(info, check=False, capture_output=True, text=True)
            return "ID_BUS=probe" in done.stdout

        try:
            until(is_described, HEARS_WITHIN_S)
        except TimeoutError:
            return "udevd hears of no device here"
        return None

    def restart_udevd(self) -> None:
        """Gone and back; it keeps its database."""
        self.stop_udevd()
        self.start_udevd()

    def stop_udevd(self) -> None:
        subprocess.run(self.inside("udevadm", "control", "--exit"), check=True, timeout=WAIT_S)
        until(lambda: not self._answers())

    def start_udevd(self) -> None:
        command = self.inside(str(UDEVD), "--daemon", "--resolve-names=never")
        subprocess.run(command, stderr=subprocess.DEVNULL, check=True, timeout=WAIT_S)
        until(self._answers)

    def trigger(self, *arguments: str) -> None:
        """Have events told once more."""
        subprocess.run(self.inside("udevadm", "trigger", *arguments), check=True, timeout=WAIT_S)

    def _answers(self) -> bool:
        ping = self.inside("udevadm", "control", "--ping", "--timeout=5")
        return subprocess.run(ping, check=False, capture_output=True).returncode == 0


@contextmanager
def machine(folder: Path, more: Mapping[str, str]) -> Iterator[Machine]:
    """A machine with the station's rules, and more of these names; where there can be none, a skip."""
    (folder / "images").mkdir()
    rules = folder / "rules.d"
    rules.mkdir()
    shutil.copy(RULES, rules)
    (rules / "58-dress.rules").write_text(_DRESS.format(folder=folder / "images"))
    for name, text in more.items():
        (rules / name).write_text(text)
    with suppress(OSError):
        Path("/run/udev").mkdir(exist_ok=True)
    said = folder / "namespaces.log"
    with said.open("w") as log:
        process = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", _INSIDE.format(udevd=UDEVD), "sh", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    made = Machine(folder, process)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            pytest.skip(f"udevd does not run in namespaces here: {said.read_text()[-300:].strip()}")
        why = made.why_deaf()
        if why is not None:
            pytest.skip(why)
        made.pull_all()
        yield made
    finally:
        made.close()


def _end(process: subprocess.Popen[str]) -> None:
    """Nobody holds its input any more."""
    try:
        process.communicate(timeout=WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def is_here() -> bool:
    """Whether this process was started by ``python_inside``."""
    return FOLDER in os.environ


def here() -> Machine:
    """The machine in which this process runs."""
    return Machine(Path(os.environ[FOLDER]))


def python_inside(made: Machine, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, in the machine."""
    return subprocess.run(
        made.inside(sys.executable, *arguments),
        cwd=CHECKOUT,
        env=os.environ | {FOLDER: str(made.folder)},
        capture_output=True,
        text=True,
        timeout=WAIT_S * 3,
        check=False,
    )


def until(reached: Callable[[], bool], wait_s: float = WAIT_S) -> None:
    """Look again and again, for a while."""
    deadline = time.monotonic() + wait_s
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


def agent(*arguments: str) -> list[str]:
    """The agent's command line, with this interpreter."""
    program = "import sys; from agent.cli.main import main; sys.exit(main())"
    return [sys.executable, "-c", program, *arguments]


def _add_loop() -> int:
    fd = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for number in range(100 + os.getpid() % 800, 4096):
            with suppress(FileExistsError):
                return fcntl.ioctl(fd, LOOP_CTL_ADD, number)
    finally:
        os.close(fd)
    raise RuntimeError("no loop device is left")


def _remove_loop(drive: LoopDrive) -> None:
    subprocess.run(["partx", "-d", drive.node], check=False, capture_output=True)
    subprocess.run(["losetup", "-d", drive.node], check=False, capture_output=True)
    fd = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)

    def removed() -> bool:
        with suppress(OSError):
            fcntl.ioctl(fd, LOOP_CTL_REMOVE, drive.number)
            return True
        return False

    try:
        until(removed)
    finally:
        os.close(fd)
