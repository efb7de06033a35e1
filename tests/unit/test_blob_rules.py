"""Rules that all stores share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.blobs import rules

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text("%4125 zZ\n", max_size=12)


@given(VALUES)
def test_any_metadata_value_comes_back_and_its_header_is_printable_ascii_without_outer_blanks(
    value: str,
) -> None:
    header = rules.encode_metadata(value)
    assert rules.decode_metadata(header) == value
    assert all(" " <= ch <= "~" for ch in header)
    assert header == header.strip()


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="%")))
def test_a_plain_metadata_value_stays_as_it_is(value: str) -> None:
    assert rules.encode_metadata(value) == value


def test_a_percent_sign_that_is_no_escape_stays_as_it_is() -> None:
    assert rules.encode_metadata("100% wool") == "100% wool"
    assert rules.encode_metadata("100%41") == "100%2541"


@given(st.dictionaries(st.text("abc", min_size=1), VALUES, max_size=4))
def test_metadata_is_encoded_together_as_each_value_is_alone(metadata: dict[str, str]) -> None:
    assert rules.encoded(metadata) == {key: rules.encode_metadata(value) for key, value in metadata.items()}
