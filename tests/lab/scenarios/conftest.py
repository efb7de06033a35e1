"""What all scenarios share: the laboratory with our station in it, the account, and what lies on drives."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.azurite import AzuriteMissing
from tests.lab import scene_drives
from tests.lab.drive import Medium
from tests.lab.laboratory import Laboratory
from tests.lab.scene import Scene
from tests.lab.scene_drives import Cargo
from tests.lab.scene_station import CHASSIS, prepare
from tests.lab.scene_store import Store
from tests.lab.store import STORE
from tests.lab.trouble import LabMissing

RESULTS = STORE / "scenarios.md"
CPU = "cpu_s"
"""What a scene took of this machine's processors, which does not depend on what else they do."""
_OUTCOMES = ("passed", "failed", "error", "skipped")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table that docs/lab.md shows, as a file."""
    rows = [
        (report.nodeid, outcome, report.duration, dict(report.user_properties).get(CPU, 0.0))
        for outcome in _OUTCOMES
        for report in terminalreporter.stats.get(outcome, [])
    ]
    lines = ["| scenario | outcome | seconds | CPU seconds |", "|---|---|---:|---:|"]
    lines += [
        f"| {_sentence(node)} | {outcome} | {took:.0f} | {cpu:.0f} |"
        for node, outcome, took, cpu in sorted(rows)
    ]
    STORE.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", "utf-8")
    terminalreporter.line(f"as a table: {RESULTS}")


def _sentence(node: str) -> str:
    return node.split("::")[-1].removeprefix("test_").replace("_", " ")


@dataclass(frozen=True)
class Stage:
    """Where scenes are played."""

    laboratory: Laboratory
    store: Store
    record: Callable[[str, object], None]

    @contextmanager
    def scene(self, name: str, media: Mapping[int, Medium]) -> Iterator[Scene]:
        """A station with nothing in its bays yet; ``media`` is what is on the drives that will be there.

        ``name`` is that of the job, and of the container that it goes to.
        """
        # A scene that failed may have left it stopped.
        self.store.start()
        before = _cpu_of_children_s()
        try:
            with self.laboratory.machine(media, service_port=self.store.relay.port) as machine:
                scene = Scene(machine, self.store, name)
                try:
                    yield scene
                finally:
                    scene.keep_journal()
        finally:
            self.record(CPU, _cpu_of_children_s() - before)


def _cpu_of_children_s() -> float:
    """Of those that have ended: QEMU is one, when its scene is over."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="session")
def laboratory() -> Iterator[Laboratory]:
    try:
        with Laboratory.opened(CHASSIS, prepare) as opened:
            yield opened
    except LabMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("account"))
    try:
        made.start()
    except AzuriteMissing as missing:
        made.close()
        pytest.skip(str(missing))
    yield made
    made.close()


@pytest.fixture
def stage(laboratory: Laboratory, store: Store, record_property: Callable[[str, object], None]) -> Stage:
    return Stage(laboratory, store, record_property)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drives")


@pytest.fixture(scope="session")
def customers(folder: Path) -> Cargo:
    """A tree as a customer has it."""
    return scene_drives.customers_drive(folder)


@pytest.fixture(scope="session")
def long(folder: Path) -> Cargo:
    """It takes half a minute, when it is slow."""
    return scene_drives.long_drive(folder)


@pytest.fixture(scope="session")
def small(folder: Path) -> Cargo:
    """It takes no time."""
    return scene_drives.small_drive(folder)


@pytest.fixture(scope="session")
def other_key(folder: Path) -> bytes:
    """A recovery password that opens none of them."""
    return scene_drives.other_key(folder)
