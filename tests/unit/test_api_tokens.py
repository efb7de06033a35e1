"""Tokens, and how often one may fail to have one."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.api.failures import (
    MAX_ADDRESSES,
    MAX_TOLD,
    REFILL_EVERY_S,
    TELL_EVERY_S,
    TRIES,
    Failures,
    address_group,
)
from agent.api.tokens import MAX_TOKENS, TokenStore, tokens_of
from agent.errors import MalformedInput, StateUnusable
from agent.model.roles import Role


class Moving:
    """A clock that is moved."""

    def __init__(self) -> None:
        self.now = datetime(2024, 2, 3, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_a_token_is_found_by_its_text_and_by_nothing_else(tmp_path: Path) -> None:
    store = tokens_of(tmp_path)
    made, secret = store.create("wall", Role.READER, None)
    text = secret.reveal()
    assert store.find(text) == made
    flipped = text[:-1] + ("A" if text[-1] != "A" else "B")
    for wrong in (
        "",
        "x",
        text[:-1],
        text + "x",
        flipped,
        text.upper(),
        " " + text,
        "dia_" + "0" * 12 + text[16:],
    ):
        assert store.find(wrong) is None, wrong


def test_the_file_holds_no_token_and_is_its_owners_alone(tmp_path: Path) -> None:
    store = tokens_of(tmp_path)
    _, secret = store.create("wall", Role.READER, None)
    (file,) = tmp_path.glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret.reveal().rpartition("_")[2] not in file.read_text("utf-8")
    assert "wall" in file.read_text("utf-8")
    assert str(secret) == "***"


def test_another_process_sees_at_once_what_was_made_and_revoked(tmp_path: Path) -> None:
    command, server = tokens_of(tmp_path), tokens_of(tmp_path)
    assert server.tokens() == []
    _, secret = command.create("ops", Role.OPERATOR, None)
    found = server.find(secret.reveal())
    assert found is not None
    assert found.role is Role.OPERATOR
    command.revoke("ops")
    assert server.find(secret.reveal()) is None
    assert [one.revoked is not None for one in server.tokens()] == [True]


def test_a_token_ends_on_its_day(tmp_path: Path) -> None:
    clock = Moving()
    store = TokenStore(tmp_path / "tokens.json", clock)
    _, secret = store.create("guest", Role.READER, 7)
    clock.now += timedelta(days=7, seconds=-1)
    assert store.find(secret.reveal()) is not None
    clock.now += timedelta(seconds=1)
    assert store.find(secret.reveal()) is None
    store.create("guest", Role.READER, 7)


def test_a_name_has_one_good_token_and_is_free_again_when_it_is_revoked(tmp_path: Path) -> None:
    store = tokens_of(tmp_path)
    first, _ = store.create("ops", Role.OPERATOR, None)
    with pytest.raises(MalformedInput, match="already"):
        store.create("ops", Role.OPERATOR, None)
    assert store.revoke(first.id).name == "ops"
    store.create("ops", Role.OPERATOR, None)
    with pytest.raises(MalformedInput, match="no valid token"):
        store.revoke("others")


@pytest.mark.parametrize(
    ("name", "days"), [("", None), ("a b", None), ("x" * 65, None), ("a", 0), ("a", 9999)]
)
def test_what_is_no_name_or_no_time_is_refused(tmp_path: Path, name: str, days: int | None) -> None:
    with pytest.raises(MalformedInput):
        tokens_of(tmp_path).create(name, Role.READER, days)


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"version": 2, "tokens": []}', b'{"version": 1, "tokens": [1]}', b"\xff", b"1"],
)
def test_a_damaged_file_admits_nobody_and_is_not_written_over(tmp_path: Path, damage: bytes) -> None:
    store = tokens_of(tmp_path)
    _, secret = store.create("ops", Role.OPERATOR, None)
    (file,) = tmp_path.glob("*.json")
    file.write_bytes(damage)
    for act in (lambda: store.find(secret.reveal()), lambda: store.create("x", Role.READER, None)):
        with pytest.raises(StateUnusable, match="tokens"):
            act()
    assert file.read_bytes() == damage


def test_a_file_that_others_can_write_admits_nobody(tmp_path: Path) -> None:
    store = tokens_of(tmp_path)
    _, secret = store.create("ops", Role.OPERATOR, None)
    (file,) = tmp_path.glob("*.json")
    file.chmod(0o666)
    with pytest.raises(StateUnusable, match="0600"):
        tokens_of(tmp_path).find(secret.reveal())


def test_there_are_not_endlessly_many_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.api.tokens.MAX_TOKENS", 2)
    assert MAX_TOKENS > 2
    store = tokens_of(tmp_path)
    for name in "ab":
        store.create(name, Role.READER, None)
    with pytest.raises(MalformedInput, match="2 tokens"):
        store.create("c", Role.READER, None)


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_after_so_many_failures_an_address_waits_and_then_may_try_again() -> None:
    seconds = Seconds()
    failures = Failures(seconds)
    told = [failures.add("203.0.113.7") for _ in range(TRIES)]
    assert told == [True] + [False] * (TRIES - 2) + [True]
    wait = failures.wait_s("203.0.113.7")
    assert 0 < wait <= REFILL_EVERY_S
    assert failures.wait_s("203.0.113.8") == 0
    seconds.now += wait
    assert failures.wait_s("203.0.113.7") == 0
    seconds.now += TELL_EVERY_S
    assert failures.add("203.0.113.7") is True


def test_an_address_that_goes_on_failing_slowly_is_told_of_twice_an_hour() -> None:
    seconds = Seconds()
    failures = Failures(seconds)
    told = 0
    for _ in range(1000):
        seconds.now += 2 * REFILL_EVERY_S
        told += failures.add("203.0.113.7")
    assert 2 <= told <= 2 * (1000 * 2 * REFILL_EVERY_S / TELL_EVERY_S + 1)


def test_of_a_crowd_of_addresses_few_are_told() -> None:
    failures = Failures(Seconds())
    assert sum(failures.add(f"2001:db8:0:{number:x}::1") for number in range(10_000)) == MAX_TOLD


def test_who_has_an_ipv6_address_has_many() -> None:
    failures = Failures(Seconds())
    for number in range(TRIES):
        failures.add(f"2001:db8::{number:x}")
    assert failures.wait_s("2001:db8::ffff:1") > 0
    assert failures.wait_s("2001:db8:0:1::1") == 0
    assert address_group("::ffff:203.0.113.7") == address_group("203.0.113.7")


def test_addresses_are_forgotten_before_they_fill_the_memory() -> None:
    failures = Failures(Seconds())
    for number in range(MAX_ADDRESSES + 10):
        failures.add(f"address {number}")
    assert len(failures._failed) == MAX_ADDRESSES
