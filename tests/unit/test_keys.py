"""Keys parse at the edge, name the bad group, and never show."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import MalformedInput
from agent.model.identity import SerialNumber
from agent.model.job import DriveSpec
from agent.model.keys import ClearKey, Password, RecoveryPassword, StartupKey, parse_credential
from agent.model.secrets import Secret

GOOD = "000011-111111-222222-333333-444444-555555-666666-720885"
CANARY = "canary-Zq7"

numbers = st.lists(st.integers(0, 0xFFFF), min_size=8, max_size=8)


def written(values: list[int], dash: str = "-") -> str:
    return dash.join(f"{value * 11:06d}" for value in values)


@given(numbers, st.sampled_from(["-", " ", "", " - ", "\u2013", "\u2010", "\n"]))
def test_recovery_password_reads_any_spelling_of_its_groups(values: list[int], dash: str) -> None:
    parsed = RecoveryPassword.parse(f"  {written(values, dash)}\n")
    assert parsed.numbers() == tuple(values)
    assert parsed.secret.reveal() == written(values)


@given(numbers, st.integers(0, 7), st.integers(0, 5), st.integers(1, 9))
def test_one_wrong_digit_is_found_and_its_group_named(
    values: list[int], group: int, place: int, change: int
) -> None:
    groups = written(values).split("-")
    digit = str((int(groups[group][place]) + change) % 10)
    groups[group] = groups[group][:place] + digit + groups[group][place + 1 :]
    with pytest.raises(MalformedInput, match=f"^group {group + 1} of the recovery password") as caught:
        RecoveryPassword.parse("-".join(groups))
    assert groups[group] not in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (GOOD.replace("222222", "22222"), "group 3 of the recovery password is not 6 digits"),
        (GOOD.replace("222222", "22222O"), "group 3 of the recovery password is not 6 digits"),
        (GOOD.replace("222222", "22222²"), "group 3 of the recovery password is not 6 digits"),
        (GOOD.replace("720885", "720896"), "group 8 of the recovery password has a wrong digit"),
        (GOOD.replace("720885", "777777"), "group 8 of the recovery password has a wrong digit"),
        (GOOD[:-7], "has 8 groups of 6 digits; this one has 7"),
        (GOOD + "-000000", "has 8 groups of 6 digits; this one has 9"),
        ("", "has 8 groups of 6 digits; this one has 1"),
    ],
)
def test_malformed_recovery_password_says_what_is_wrong(bad: str, said: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        RecoveryPassword.parse(bad)
    assert said in caught.value.detail


def bek(version: int = 1) -> bytes:
    size = 156
    return size.to_bytes(4, "little") + version.to_bytes(4, "little") + b"\x30\0\0\0" + bytes(size - 12)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (GOOD.encode(), RecoveryPassword(Secret(GOOD))),
        (GOOD.encode() + b"\r\n", RecoveryPassword(Secret(GOOD))),
        (b"\xef\xbb\xbf" + GOOD.encode(), RecoveryPassword(Secret(GOOD))),
        (GOOD.replace("-", "").encode(), RecoveryPassword(Secret(GOOD))),
        (b"correct horse\n", Password(Secret("correct horse"))),
        (b" blanks stay \n", Password(Secret(" blanks stay "))),
        (b"12345678", Password(Secret("12345678"))),
        ("grün".encode(), Password(Secret("grün"))),
        (bek(), StartupKey(Secret(bek().hex()))),
    ],
)
def test_key_is_told_apart_by_its_form(data: bytes, expected: object) -> None:
    assert parse_credential(data) == expected


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n", b"\xef\xbb\xbf"])
def test_empty_key_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedInput, match="the key is empty"):
        parse_credential(data)


def test_bytes_that_are_neither_text_nor_bek_are_refused_unseen() -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_credential(b"canary\xff\xfe")
    assert "canary" not in str(caught.value)


def test_recovery_password_with_a_slip_is_not_taken_for_a_password() -> None:
    with pytest.raises(MalformedInput, match="group 2"):
        parse_credential(GOOD.replace("111111", "111112").encode())


HOLDERS = [
    Secret(CANARY),
    RecoveryPassword(Secret(CANARY)),
    Password(Secret(CANARY)),
    StartupKey(Secret(CANARY)),
    DriveSpec(SerialNumber.parse("A1"), Password(Secret(CANARY))),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_secret_never_shows_in_text(holder: object) -> None:
    shown = [
        repr(holder),
        str(holder),
        f"{holder}",
        f"{holder!r}",
        f"{holder!s}",
        "%s %r" % (holder, holder),  # noqa: UP031
        "{}".format(holder),  # noqa: UP032
        repr([holder]),
        repr({"key": holder}),
        repr(ValueError(holder)),
        ascii(holder),
    ]
    assert [text for text in shown if CANARY in text] == []
    assert all("***" in text for text in shown)


def test_secret_never_shows_whatever_the_format_asks() -> None:
    assert [f"{Secret(CANARY):{spec}}" for spec in (">20", "s", ".3")] == ["***"] * 3


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_secret_is_not_pickled(holder: object, protocol: int) -> None:
    with pytest.raises(TypeError, match="not pickled") as caught:
        pickle.dumps(holder, protocol)
    assert CANARY not in str(caught.value)


def test_secret_is_not_copied_into_a_second_object() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(Secret(CANARY))


def test_secret_never_shows_in_exceptions_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise MalformedInput(f"key {Password(Secret(CANARY))} is wrong")
    except MalformedInput:
        text = traceback.format_exc()
        logging.getLogger("test").exception("key %s", Secret(CANARY))
    assert CANARY not in text + caplog.text
    assert "***" in text


def test_secret_has_no_attribute_bag_to_leak_from() -> None:
    with pytest.raises(TypeError):
        vars(Secret(CANARY))


def test_secrets_compare_by_content() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("a"))


def test_clear_key_has_nothing_to_show() -> None:
    assert repr(ClearKey()) == "ClearKey()"
