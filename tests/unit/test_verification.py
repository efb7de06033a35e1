"""Depths, what they make of one file, and how logs tell what was found."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import MalformedInput
from agent.formats.verified_text import from_text, to_text
from agent.model.blobs import AccessTier, BlobAttributes
from agent.model.codes import BlobType, Disposition
from agent.model.treatment import AS_USUAL, Treatment
from agent.model.verification import Depth, Verdict, Verification, Verified
from agent.transfer.items import FileFacts, Item, Marker, Piece
from agent.transfer.verify import NO_HASHES, check_of
from agent.volume.entry import StreamKind, StreamRef

NONE = BlobAttributes()
STREAM = StreamRef(30, 1, "", StreamKind.RESIDENT, 8, 8, 0, (), None, 0)
PLAIN = Item(0, "\\a", "box/a", BlobType.BLOCK, 8, Disposition.RENAME, STREAM)
LISTED = PLAIN._replace(pieces=(Piece(0, 0, 8, "AAAA", b"\1" * 16),))
marker_of = Marker("job", "S1", "00FF")
MARK = marker_of(PLAIN)


def asked(text: str) -> Treatment:
    return Treatment(Verification.parse(text))


@pytest.mark.parametrize("text", ["transit", "manifest", "readback", "readback:1%", "readback:99%"])
def test_a_depth_is_read_as_it_is_written(text: str) -> None:
    assert str(Verification.parse(text)) == text


def test_all_of_them_need_no_percentage() -> None:
    assert Verification.parse("readback:100%") == Verification.parse("readback:100")
    assert str(Verification.parse("readback:100%")) == "readback"


@pytest.mark.parametrize(
    "text",
    ["", "Transit", "readback:", "readback:0%", "readback:101%", "manifest:5%", "readback:٣%", "x" * 99],
)
def test_what_is_no_depth_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        Verification.parse(text)
    assert "\n" not in caught.value.detail


def test_what_lies_in_the_archive_cannot_be_read_back() -> None:
    with pytest.raises(MalformedInput, match="Archive"):
        Treatment(Verification.parse("readback:5%"), tier=AccessTier.ARCHIVE)
    assert Treatment(Verification.parse("transit"), tier=AccessTier.ARCHIVE).tier is AccessTier.ARCHIVE


def test_by_default_the_manifest_decides() -> None:
    assert check_of(PLAIN, AS_USUAL, MARK, NONE).depth is Depth.TRANSIT
    listed = check_of(LISTED, AS_USUAL, MARK, NONE)
    assert listed.depth is Depth.MANIFEST
    assert listed.compares_pieces


def test_transit_does_not_compare_with_the_manifest() -> None:
    check = check_of(LISTED, asked("transit"), MARK, NONE)
    assert (check.depth, check.compares_pieces) == (Depth.TRANSIT, False)


def test_a_manifest_without_hashes_leaves_the_wanted_verification_unknown() -> None:
    assert check_of(PLAIN, asked("manifest"), MARK, NONE).note == NO_HASHES
    assert check_of(LISTED, asked("manifest"), MARK, NONE).note == ""
    assert check_of(PLAIN, AS_USUAL, MARK, NONE).note == ""


def test_reading_back_includes_the_manifest() -> None:
    check = check_of(LISTED, asked("readback"), MARK, NONE)
    assert (check.depth, check.compares_pieces) == (Depth.READBACK, True)


def test_of_many_files_as_many_percent_are_read_back_and_always_the_same() -> None:
    def chosen(percent: int) -> set[int]:
        treatment = asked(f"readback:{percent}%")
        marks = [marker_of(PLAIN._replace(seq=seq, file_path=f"\\{seq}")) for seq in range(5000)]
        return {seq for seq, mark in enumerate(marks) if check_of(PLAIN, treatment, mark, NONE).is_read_back}

    assert chosen(10) == chosen(10)
    assert 400 < len(chosen(10)) < 600
    assert chosen(10) < chosen(50) < chosen(100)
    assert len(chosen(100)) == 5000


def test_a_promised_md5_is_computed_though_the_job_asks_for_none() -> None:
    check = check_of(PLAIN, AS_USUAL, MARK, BlobAttributes(content_md5=b"\2" * 16))
    assert (check.md5, check.promised_md5) == (True, b"\2" * 16)


def test_page_blobs_have_the_hashes_that_are_asked_for_and_promised() -> None:
    item = LISTED._replace(type=BlobType.PAGE)
    check = check_of(
        item, Treatment(content_md5=True, sha256=True), MARK, BlobAttributes(content_md5=b"\2" * 16)
    )
    assert (check.md5, check.sha256, check.promised_md5) == (True, True, b"\2" * 16)


known = st.builds(
    Verified,
    st.sampled_from(Depth),
    st.sampled_from(Verdict),
    st.none() | st.integers(0, (1 << 64) - 1),
    st.none() | st.binary(min_size=16, max_size=16),
    st.none() | st.binary(min_size=32, max_size=32),
)


@given(known)
def test_what_a_log_tells_of_a_file_is_read_again(verified: Verified) -> None:
    assert from_text(to_text(verified)) == verified


@given(st.text(max_size=80) | known.map(lambda one: to_text(one)[:-4]))
def test_what_no_log_of_ours_tells_is_read_as_nothing_or_as_less(text: str) -> None:
    found = from_text(text)
    assert found is None or from_text(to_text(found)) == found


@pytest.mark.parametrize("crc64", [str(1 << 64), "-1", "0x1F", "٣"])
def test_a_checksum_that_is_none_is_not_believed(crc64: str) -> None:
    assert from_text(f'depth="transit" verdict="match" crc64="{crc64}"') is None


ORDINARY = PLAIN._replace(disposition=Disposition.NO_OVERWRITE)


@pytest.mark.parametrize(
    "other",
    [
        ORDINARY._replace(file_path="\\b"),
        ORDINARY._replace(facts=FileFacts(changed=1)),
        ORDINARY._replace(stream=STREAM._replace(sequence=2)),
    ],
    ids=["another path", "changed since", "made anew under the same name"],
)
def test_a_marker_tells_a_file_and_its_version_from_any_other(other: Item) -> None:
    assert marker_of(other) != marker_of(ORDINARY)
    assert Marker("job", "S1", "00FE")(ORDINARY) != marker_of(ORDINARY)


def test_a_marker_stays_when_others_come_before_the_file_but_for_names_that_are_shared_out() -> None:
    assert marker_of(ORDINARY._replace(seq=9)) == marker_of(ORDINARY)
    assert marker_of(PLAIN._replace(seq=9)) != marker_of(PLAIN)


@given(st.text(st.characters(codec="utf-16", exclude_categories=())))
def test_a_marker_is_16_hex_digits_whatever_the_name(path: str) -> None:
    assert re.fullmatch("[0-9a-f]{16}", marker_of(ORDINARY._replace(file_path=path)))
