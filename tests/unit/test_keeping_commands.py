"""``keys`` and ``catalog`` as they are typed: a new key, backups, and what they need to be put back."""

from __future__ import annotations

import ctypes
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agent.catalog.keybox import KeyBox
from agent.catalog.occupancy import occupy
from agent.cli.main import cli
from agent.errors import BackupUnfit, CatalogBusy, IngestError
from tests.unit.catalog_cases import KEY

Run = Callable[..., Any]
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command in a state directory with one job: the JSON that it prints. Raises what it ends with."""

    def command(*arguments: str, code: int = 0) -> Any:
        environment = {"INGEST_AGENT_STATE": str(tmp_path / "state")}
        done = CliRunner().invoke(cli, [*arguments, "--json"], input=KEY, env=environment)
        if isinstance(done.exception, IngestError):
            raise done.exception
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    command("job", "create", "box", "--drive", "A", "--key-file", "-", "--to", "data")
    return command


def test_a_key_is_shown_by_its_id_and_changed_with_the_old_one_kept(run: Run, tmp_path: Path) -> None:
    shown = run("keys", "show")
    assert shown["keyId"] == KeyBox.from_file(Path(shown["file"])).key_id
    done = run("keys", "rotate")
    assert (done["oldKeyId"], done["resealed"], done["damaged"]) == (shown["keyId"], 1, 0)
    assert run("keys", "show")["keyId"] == done["keyId"] != shown["keyId"]
    assert KeyBox.from_file(Path(done["oldFile"])).key_id == shown["keyId"]
    again = run("keys", "rotate", "--drop-old")
    assert (again["oldFile"], again["oldKeyId"]) == (None, done["keyId"])
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [
        "catalog.key",
        f"catalog.key.old-{shown['keyId']}",
        "catalog.sqlite",
    ]


def test_keys_that_do_not_open_are_told_by_the_exit_code(run: Run, tmp_path: Path) -> None:
    run("job", "create", "other", "--drive", "B", "--key-file", "-", "--to", "data")
    _sql(tmp_path, "UPDATE drive SET sealed_key = x'00' WHERE serial = 'B'")
    assert run("keys", "rotate", code=3)["damaged"] == 1


def test_a_backup_is_made_and_put_back_with_the_key_that_it_needs(run: Run, tmp_path: Path) -> None:
    copy = str(tmp_path / "copy")
    made = run("catalog", "backup", copy)
    assert (made["jobs"], made["drives"], made["broken"]) == (1, 1, None)
    run("job", "cancel", "box")
    done = run("keys", "rotate")
    with pytest.raises(BackupUnfit, match=f"key {made['keyId']} is needed"):
        run("catalog", "restore", copy)
    restored = run("catalog", "restore", copy, "--key-file", done["oldFile"])
    assert restored["head"] == made["head"]
    assert Path(restored["aside"]).exists()
    found = run("job", "show", "box")["properties"]
    assert not found["cancelRequested"]
    assert run("history", "verify")["broken"] is None


def test_the_catalog_of_before_is_a_backup_like_any_other(run: Run, tmp_path: Path) -> None:
    run("catalog", "backup", str(tmp_path / "copy"))
    run("job", "cancel", "box")
    aside = run("catalog", "restore", str(tmp_path / "copy"))["aside"]
    moved = Path(aside).rename(tmp_path / "before")
    run("catalog", "restore", str(moved))
    assert run("job", "show", "box")["properties"]["cancelRequested"]
    assert run("history", "verify")["broken"] is None


def test_a_backup_of_a_broken_history_is_made_and_told_by_the_exit_code(run: Run, tmp_path: Path) -> None:
    _sql(tmp_path, "DROP TRIGGER event_no_update", "UPDATE event SET who = 'x' WHERE id = 1")
    assert (
        "event 1 (job.create) was changed"
        in run("catalog", "backup", str(tmp_path / "copy"), code=3)["broken"]
    )
    assert (tmp_path / "copy").exists()


def test_a_command_beside_a_change_of_the_key_is_told_to_wait(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(path: Path, _patience_s: float, *, alone: bool) -> int:
        return occupy(path, 0, alone=alone)

    monkeypatch.setattr("agent.catalog.database.occupy", at_once)
    held = occupy(tmp_path / "state" / "catalog.sqlite", 0, alone=True)
    with pytest.raises(CatalogBusy, match="is being restored or sealed anew") as caught:
        run("job", "show", "box")
    os.close(held)
    assert caught.value.next_step.startswith("Wait until it is done")
    assert run("job", "show", "box")["name"] == "box"


@pytest.mark.parametrize(
    "arguments",
    [("keys", "show"), ("keys", "rotate"), ("catalog", "backup", "copy"), ("catalog", "restore", "copy")],
    ids=" ".join,
)
def test_the_memory_of_a_command_with_the_key_is_hidden(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    if "restore" in arguments:
        run("catalog", "backup", "copy")
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_DUMPABLE, 1)
    run(*arguments)
    assert prctl(PR_GET_DUMPABLE) == 0


def _sql(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "state" / "catalog.sqlite")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
