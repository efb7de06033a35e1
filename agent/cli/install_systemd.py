"""``ingest-agent install-systemd``: puts the unit and what it needs where systemd finds it."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

import agent
from agent.cli.context import print_json
from agent.errors import ConfigInvalid, StateUnusable

COMMAND, PYTHON = "/usr/bin/ingest-agent", "/usr/bin/python3"
"""As the shipped files have them."""

CONFIGURATION, PROGRAM = "agent.toml", "smartctl"
PLACES = {
    "drive-ingest-agent.service": "usr/lib/systemd/system/drive-ingest-agent.service",
    "drive-ingest-smart.socket": "usr/lib/systemd/system/drive-ingest-smart.socket",
    "drive-ingest-smart@.service": "usr/lib/systemd/system/drive-ingest-smart@.service",
    PROGRAM: "usr/lib/drive-ingest-agent/smartctl",
    "drive-ingest-agent.sysusers": "usr/lib/sysusers.d/drive-ingest-agent.conf",
    "drive-ingest-agent.tmpfiles": "usr/lib/tmpfiles.d/drive-ingest-agent.conf",
    "60-drive-ingest.rules": "usr/lib/udev/rules.d/60-drive-ingest.rules",
    CONFIGURATION: "etc/drive-ingest-agent/agent.toml",
}
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._+@~-]*\Z", re.ASCII)
_UNSEEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - the unit hides them
NEXT_STEPS = """\
Next:
  systemd-sysusers && systemd-tmpfiles --create
  systemctl daemon-reload && udevadm control --reload
  ingest-agent bays --rules > /etc/udev/rules.d/59-drive-ingest-bays.rules   (once [bays] are set)
  put the account key or SAS into /etc/credstore/drive-ingest.store (owner root, mode 0600)
  set [store] and [bays] in /etc/drive-ingest-agent/agent.toml
  systemctl enable --now drive-ingest-agent
  runuser -u drive-ingest -- ingest-agent doctor"""


@dataclass(frozen=True, slots=True)
class Placed:
    """``outcome`` is placed, replaced, unchanged or kept."""

    path: Path
    outcome: str


@click.command(name="install-systemd")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/"),
    metavar="DIR",
    help="Below this directory instead of /, for an image or a package.",
)
@click.option(
    "--prefix",
    metavar="DIR",
    help="Where bin/ingest-agent will be found. [default: where this one is]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def install_systemd(root: Path, prefix: str | None, as_json: bool) -> None:
    """Place the systemd unit, its user, folders, device rules and an example of the settings.

    It may be run again. Settings that are there are never overwritten: a newer example is put beside
    them as agent.toml.new. Nothing is started.
    """
    placed = list(install(root, _command(prefix)))
    if as_json:
        print_json({"value": [{"path": str(one.path), "outcome": one.outcome} for one in placed]})
        return
    for one in placed:
        click.echo(f"{one.outcome:10}{one.path}")
    click.echo(NEXT_STEPS)


def install(root: Path, command: str) -> Iterator[Placed]:
    """Place all files. Raises StateUnusable."""
    source = shipped()
    for name, place in PLACES.items():
        file = source / name
        if not file.is_file():
            raise StateUnusable(f"{file} is missing: this installation is not whole")
        data = file.read_bytes().replace(f"={COMMAND} ".encode(), f"={command} ".encode())
        data = data.replace(f"#!{PYTHON} ".encode(), f"#!{Path(command).with_name('python3')} ".encode())
        try:
            yield _placed(name, root / place, data)
        except OSError as error:
            raise StateUnusable(f"{root / place} cannot be placed: {error.strerror}") from None


def shipped() -> Path:
    """The folder of the files as they are shipped: of a checkout, or of an installed package."""
    beside, shared = Path(agent.__file__).parents[1], "share/drive-ingest-agent/systemd"
    places = (beside / "systemd", beside / shared, Path(sys.prefix) / shared)
    return next((place for place in places if place.is_dir()), places[-1])


def _command(prefix: str | None) -> str:
    """Raises ConfigInvalid for a place that the service cannot see, or that a unit cannot name."""
    if prefix is None:
        beside = Path(sys.executable).parent / "ingest-agent"
        command = str(beside) if beside.exists() else COMMAND
    else:
        command = str(Path(prefix) / "bin/ingest-agent")
    if not _PLAIN_PATH.match(command) or ".." in Path(command).parts:
        raise ConfigInvalid(f"--prefix must be an absolute path of plain letters, and {command!r} is none")
    hidden = next((folder for folder in _UNSEEN if Path(command).is_relative_to(folder)), None)
    if hidden is not None:
        raise ConfigInvalid(
            f"the service cannot see {command}: {hidden} is hidden from it; install to /opt, say, "
            "or name the place by --prefix"
        )
    return command


def _placed(name: str, path: Path, data: bytes) -> Placed:
    if name == CONFIGURATION:
        return _settings(path, data)
    return _ours(path, data, 0o755 if name == PROGRAM else 0o644)


def _settings(path: Path, data: bytes) -> Placed:
    if not path.exists():
        return _ours(path, data)
    if path.read_bytes() == data:
        return Placed(path, "unchanged")
    example = path.with_name(f"{path.name}.new")
    if not example.exists() or example.read_bytes() != data:
        _write(example, data)
    return Placed(path, "kept")


def _ours(path: Path, data: bytes, mode: int = 0o644) -> Placed:
    if not path.exists():
        _write(path, data, mode)
        return Placed(path, "placed")
    if path.read_bytes() == data:
        return Placed(path, "unchanged")
    _write(path, data, mode)
    return Placed(path, "replaced")


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    _make_folder(path.parent)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise


def _make_folder(folder: Path) -> None:
    """Open to the service's user, also where root's umask is narrow."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        place.chmod(0o755)
