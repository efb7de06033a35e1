"""What a SAS says of itself, and what is said of one that will not do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.blobs.opening import check_store
from agent.blobs.sas import Signature, expiry_of, is_for_one_container
from agent.errors import ConfigInvalid
from agent.model.secrets import Secret

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SIG = "sig=c2VjcmV0LXNpZ25hdHVyZQ%3D%3D"
CONTAINER = f"sv=2024-11-04&sr=c&sp=rwc&se=2026-12-01T00%3A00%3A00Z&{SIG}"


@pytest.mark.parametrize(
    "text",
    [
        CONTAINER,
        f"?{CONTAINER}",
        f"sv=2024-11-04&ss=bf&srt=sco&sp=rwdlac&se=2026-12-01&{SIG}",
        f"sv=2024-11-04&sr=c&sp=rc&st=2026-11-21T12:10:00Z&se=2026-12-01T00:00Z&{SIG}",
        f"sv=2024-11-04&sr=c&si=policy&{SIG}",
        f"sv=2024-11-04&sr=c&sp=racwdl&se=2026-12-01T00:00:00.0000000Z&{SIG}",
    ],
)
def test_a_good_one_passes(text: str) -> None:
    Signature.parse(text).check(NOW)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"sr=c&sp=rwc&se=2026-11-21T12:00:00Z&{SIG}", "expired at 2026-11-21 12:00 UTC"),
        (f"sr=c&sp=rwc&se=2026-12-01&st=2026-11-22T00:00:00Z&{SIG}", "valid from 2026-11-22 00:00 UTC"),
        (f"sr=c&sp=rl&se=2026-12-01&{SIG}", "does not permit to write (w)"),
        (f"sr=c&sp=wc&se=2026-12-01&{SIG}", "does not permit to read (r)"),
        (f"sr=c&sp=l&se=2026-12-01&{SIG}", "read (r) and write (w)"),
        (f"sr=b&sp=rwc&se=2026-12-01&{SIG}", "less than a container"),
        (f"ss=q&srt=sco&sp=rwc&se=2026-12-01&{SIG}", "(ss) lack b"),
        (f"ss=b&srt=sc&sp=rwc&se=2026-12-01&{SIG}", "(srt) lack o"),
        (f"sr=c&sp=rwc&{SIG}", "no expiry (se)"),
        (f"sr=c&se=2026-12-01&{SIG}", "no permissions (sp)"),
        (f"sr=c&sp=rwc&se=soon&{SIG}", "a se that is no time"),
        (f"sr=c&sp=rwc&se=&{SIG}", "a se that is no time"),
    ],
)
def test_what_is_wrong_is_said_without_the_signature(text: str, said: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        Signature.parse(text).check(NOW)
    assert said in caught.value.detail
    assert "c2VjcmV0" not in caught.value.detail


def test_a_key_has_no_end() -> None:
    assert expiry_of("c2VjcmV0") is None
    assert expiry_of(CONTAINER) == datetime(2026, 12, 1, tzinfo=UTC)


def test_an_expired_one_is_refused_before_a_drive_is_touched() -> None:
    over = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    with pytest.raises(ConfigInvalid, match="expired at"):
        check_store("azure", "https://a.blob.example", Secret(f"sr=c&sp=rwc&se={over}&{SIG}"))


@pytest.mark.parametrize(
    ("text", "is_for_one"),
    [
        (CONTAINER, True),
        (f"?sr=c&sp=rwc&{SIG}", True),
        (f"ss=b&srt=sco&sp=rwc&{SIG}", False),
        (f"sr=b&{SIG}", False),
        ("sr=c", False),
        ("a2V5", False),
    ],
)
def test_a_sas_for_one_container_is_told_from_others(text: str, is_for_one: bool) -> None:
    assert is_for_one_container(text) is is_for_one
