"""What only a process in the namespaces of a udevd can be asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.devices.rules import FILE_NAME, bay_rules
from tests.kit import udevd
from tests.kit.udevd import Machine

pytestmark = pytest.mark.skipif(udevd.missing() is not None, reason=str(udevd.missing()))

SUITE = udevd.CHECKOUT / "tests/conformance/test_device_sources.py"

OVERFLOW = """
import asyncio, socket, subprocess, time
from agent.devices.monitor import UdevMonitor

async def main(news):
    monitor = UdevMonitor(news.set)
    failed = []
    recover = monitor._recover
    monitor._recover = lambda: (failed.append(1), recover())
    with socket.socket(fileno=__import__("os").dup(monitor._monitor.fileno())) as twin:
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    with monitor:
        trigger("8")
        await told(news)
        assert failed, "the buffer did not overflow"
        for _ in range(3):
            trigger("1")
            await told(news)

def trigger(times):
    # While nobody reads.
    for _ in range(int(times)):
        subprocess.run(["udevadm", "trigger", "--settle", "--subsystem-match=block"], check=True)

async def told(news):
    await asyncio.wait_for(news.wait(), 30)
    await asyncio.sleep(0.5)
    news.clear()

asyncio.run(main(asyncio.Event()))
print("told")
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    rules = {FILE_NAME: bay_rules(["conformance"]), "57-wrong.rules": "NONSENSE\n"}
    with udevd.machine(tmp_path_factory.mktemp("udevd"), rules) as made:
        yield made


def test_the_suite_of_device_sources_holds_for_udev(box: Machine) -> None:
    done = udevd.python_inside(box, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "Udev", str(SUITE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout


def test_events_that_overflow_are_news_and_later_ones_are_heard(box: Machine) -> None:
    done = udevd.python_inside(box, "-c", OVERFLOW)
    assert done.stdout == "told\n", done.stdout + done.stderr


def test_udevd_has_nothing_to_say_against_our_rules(box: Machine) -> None:
    said = box.log.read_text()
    assert "57-wrong.rules:1" in said
    assert "drive-ingest" not in said
