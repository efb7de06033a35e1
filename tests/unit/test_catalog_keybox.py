"""Sealed keys: bound to their drive, different each time, opened by nothing else."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.catalog.keybox import KeyBox, ensure_key_file
from agent.errors import StateUnusable
from agent.model.keys import Password, RecoveryPassword
from agent.model.secrets import Secret
from tests.unit.catalog_cases import KEY, WHO, name, opened, serial, spec

BOX = KeyBox(bytes(range(32)))
SEALED = BOX.seal(RecoveryPassword.parse(KEY), name("ship-1"), serial("A"))


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_any_password_comes_back(text: str) -> None:
    sealed = BOX.seal(Password(Secret(text)), name("ship-1"), serial("A"))
    found = BOX.open(sealed, name("ship-1"), serial("A"))
    assert isinstance(found, Password)
    assert found.secret.reveal() == text


def test_same_key_is_sealed_differently_each_time() -> None:
    again = {BOX.seal(RecoveryPassword.parse(KEY), name("ship-1"), serial("A")) for _ in range(50)}
    assert len(again) == 50


@pytest.mark.parametrize(("job", "drive"), [("ship-2", "A"), ("ship-1", "B"), ("ship-1a", "A")])
def test_key_does_not_open_for_another_job_or_drive(job: str, drive: str) -> None:
    with pytest.raises(StateUnusable, match=f"drive {drive} of job {job} does not open"):
        BOX.open(SEALED, name(job), serial(drive))


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_any_flipped_bit_is_noticed(bit: int) -> None:
    broken = bytearray(SEALED)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StateUnusable, match="does not open"):
        BOX.open(bytes(broken), name("ship-1"), serial("A"))


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_any_shortening_is_noticed(length: int) -> None:
    with pytest.raises(StateUnusable, match="does not open"):
        BOX.open(SEALED[:length], name("ship-1"), serial("A"))


def test_box_shows_nothing_of_its_key(tmp_path: Path) -> None:
    ensure_key_file(tmp_path / "k")
    box = KeyBox.from_file(tmp_path / "k")
    assert (tmp_path / "k").read_bytes().hex() not in repr(box)
    with pytest.raises(TypeError):
        vars(box)


def test_many_first_uses_at_once_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "k"

    def first_use(_: int) -> bytes:
        ensure_key_file(path)
        return path.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(first_use, range(32)))
    assert len(keys) == 1
    assert [found.name for found in tmp_path.iterdir()] == ["k"]


async def test_sealed_keys_that_were_swapped_in_the_file_do_not_open(tmp_path: Path) -> None:
    async with opened(tmp_path) as catalog:
        await catalog.create_job(spec("ship-1", "A", "B"), ship=True, who=WHO)
    connection = sqlite3.connect(tmp_path / "catalog.sqlite")
    keys = dict(connection.execute("SELECT serial, sealed_key FROM drive").fetchall())
    connection.execute("UPDATE drive SET sealed_key = ? WHERE serial = 'A'", (keys["B"],))
    connection.commit()
    connection.close()
    async with opened(tmp_path) as catalog:
        with pytest.raises(StateUnusable, match="drive A of job ship-1 does not open"):
            await catalog.credential(name(), serial("A"))
        assert await catalog.credential(name(), serial("B")) == RecoveryPassword.parse(KEY)
