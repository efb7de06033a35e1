"""NTFS names to blob paths: total, injective, reversible, and fit for the service and for XML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.model.blobs import MAX_NAME_CHARS, MAX_SEGMENTS, POISON, illegal
from agent.model.naming import decode, encode, encode_segment


def from_units(units: list[int]) -> str:
    """UTF-16 code units as Python text: pairs joined, lone surrogates kept, as a reader gives them."""
    raw = b"".join(unit.to_bytes(2, "little") for unit in units)
    return raw.decode("utf-16-le", "surrogatepass")


# NTFS takes every 16-bit unit in a name but the slash of the POSIX view; names of only dots are not made.
unit = st.one_of(
    st.integers(0, 0xFFFF),
    st.sampled_from([0x25, 0x2E, 0x20, 0x5C, 0x7F, 0x85, 0xD800, 0xDC00, 0xDFFF, 0xFDD0, 0xFFFE, 0xFFFF, 0]),
).filter(lambda code: code != 0x2F)
name = st.lists(unit, min_size=1, max_size=40).map(from_units)
path = st.lists(name, min_size=1, max_size=8)


def too_long(text: str) -> bool:
    return len(text.encode("utf-16-le")) // 2 > MAX_NAME_CHARS or text.count("/") >= MAX_SEGMENTS


@given(path)
@example(["."])
@example([".."])
@example(["..."])
@example(["a."])
@example(["a "])
@example(["%2E"])
@example(["\ud800", "\udc00"])
@example(["\U0001fffe"])
def test_every_path_is_given_back(names: list[str]) -> None:
    encoded = encode(names)
    assert decode(encoded) == tuple(names)
    assert unquote(encoded, errors="surrogatepass") == "/".join(names)


@given(path, path)
def test_two_paths_never_meet(one: list[str], other: list[str]) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@given(name)
def test_name_that_looks_like_an_encoded_name_does_not_meet_it(plain: str) -> None:
    encoded = encode_segment(plain)
    assert encoded == plain or encode_segment(encoded) != encoded


@given(path)
@example(["."])
@example([".."])
def test_service_takes_every_encoded_path_unless_too_long(names: list[str]) -> None:
    encoded = encode(names)
    if too_long(encoded):
        assert illegal(encoded) is not None
    else:
        assert illegal(encoded) is None


@given(path)
def test_encoded_path_stands_in_xml_unchanged(names: list[str]) -> None:
    encoded = encode(names)
    element = ET.Element("Blob", {"path": encoded})
    element.text = encoded
    read = ET.fromstring(ET.tostring(element, encoding="utf-8"))
    assert read.text == encoded
    assert read.get("path") == encoded


@given(path)
def test_encoded_path_goes_through_utf8_and_is_stable_under_blank_trimming(names: list[str]) -> None:
    encoded = encode(names)
    assert encoded.encode("utf-8").decode("utf-8") == encoded
    assert all(segment.rstrip(" .") == segment for segment in encoded.split("/"))


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        ("report.pdf", "report.pdf"),
        ("100 %", "100 %25"),
        ("a.", "a%2E"),
        ("a ", "a%20"),
        ("..", ".%2E"),
        ("tab\there", "tab%09here"),
        ("a\\b", "a%5Cb"),
        ("\ud83d", "%ED%A0%BD"),
        ("größe 😀", "größe 😀"),
        ("\uffff", "%EF%BF%BF"),
    ],
)
def test_known_names_are_written_so(plain: str, encoded: str) -> None:
    assert encode_segment(plain) == encoded


def test_poison_is_what_the_service_and_xml_cannot_carry() -> None:
    poison = {code for code in range(0x110000) if re.match(f"[{POISON}]", chr(code))}
    expected = set(range(0x20)) | set(range(0x7F, 0xA0)) | {0x5C} | set(range(0xD800, 0xE000))
    expected |= set(range(0xFDD0, 0xFDF0))
    expected |= {plane << 16 | low for plane in range(17) for low in (0xFFFE, 0xFFFF)}
    assert poison == expected
