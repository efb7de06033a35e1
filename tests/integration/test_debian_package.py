"""The package that ``make deb`` made: it installs, starts, ingests, and leaves its state when it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import container as kit
from tests.kit import images

CHECKOUT = Path(__file__).parents[2]
UNIT = "drive-ingest-agent.service"
WAIT_S = 120


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kit.Container]:
    built = sorted(
        (CHECKOUT / "dist").glob("drive-ingest-agent_*.deb"), key=lambda path: path.stat().st_mtime
    )
    if not built:
        pytest.skip("there is no package; `make deb` makes it")
    folder = tmp_path_factory.mktemp("package")
    drive = folder / "drive"
    drive.mkdir(mode=0o755)
    images.unpack("demo", drive).chmod(0o644)
    try:
        with kit.booted(folder, {drive: "/opt/drive", built[-1].parent: "/opt/dist"}) as container:
            said = container.run("dpkg", "-i", f"/opt/dist/{built[-1].name}", check=False)
            if "dependency problems" in said:
                pytest.skip(f"this system has not what the package needs: {said[:600]}")
            status = container.run("dpkg-query", "-W", "-f=${Status}", "drive-ingest-agent")
            assert status == "install ok installed", said
            yield container
    except kit.NoContainer as reason:
        pytest.skip(str(reason))


def _state(inside: kit.Container) -> str:
    return inside.run("systemctl", "show", UNIT, "--property=ActiveState", "--value").strip()


def test_it_starts_and_ingests_a_drive(inside: kit.Container) -> None:
    settings = inside.root / "etc/drive-ingest-agent/agent.toml"
    settings.write_text(settings.read_text() + '[[image]]\npath = "/opt/drive/demo.img"\nserial = "WD-9"\n')
    as_service = ("runuser", "-u", "drive-ingest", "--", "ingest-agent")
    inside.run(*as_service, "job", "create", "box", "--drive", "WD-9", "--allow-unencrypted", "--to", "out")
    inside.run("systemctl", "start", UNIT)
    deadline = time.monotonic() + WAIT_S
    while "Completed" not in (said := inside.run(*as_service, "job", "show", "box")):
        assert time.monotonic() < deadline, said + inside.run("journalctl", "-u", UNIT, "-o", "cat")
        time.sleep(1)
    assert "lacking" not in inside.run("journalctl", "-u", UNIT, "-o", "cat")


def test_its_modules_come_compiled(inside: kit.Container) -> None:
    folder = inside.root / "usr/lib/drive-ingest-agent/python"
    for module in (*(folder / "agent").rglob("*.py"), *(folder / "numpy").glob("*.py")):
        (compiled,) = (module.parent / "__pycache__").glob(f"{module.stem}.cpython-*.pyc")
        # PEP 552: flags 1 mean that it goes by itself, whatever the times of the files.
        assert compiled.read_bytes()[4:8] == b"\1\0\0\0", module


def test_settings_are_kept_when_it_is_installed_again_and_the_service_is_restarted(
    inside: kit.Container,
) -> None:
    inside.run("sh", "-c", "dpkg -i --force-confold $(ls -t /opt/dist/*.deb | head -n 1)")
    assert "WD-9" in (inside.root / "etc/drive-ingest-agent/agent.toml").read_text()
    assert _state(inside) == "active"


def test_an_update_is_whole_where_the_service_cannot_start(inside: kit.Container) -> None:
    settings = inside.root / "etc/drive-ingest-agent/agent.toml"
    before = settings.read_text()
    settings.write_text("no TOML\n" + before)
    inside.run("sh", "-c", "dpkg -i --force-confold $(ls -t /opt/dist/*.deb | head -n 1)", check=False)
    status = inside.run("dpkg-query", "-W", "-f=${Status}", "drive-ingest-agent")
    settings.write_text(before)
    assert status == "install ok installed"


def test_it_goes_and_leaves_the_state(inside: kit.Container) -> None:
    inside.run("dpkg", "-r", "drive-ingest-agent")
    assert not (inside.root / "usr/bin/ingest-agent").exists()
    assert not (inside.root / "usr/lib/drive-ingest-agent").exists()
    assert (inside.root / "var/lib/drive-ingest-agent/catalog.sqlite").exists()
