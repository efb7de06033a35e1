"""Metadata and properties files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.formats.manifest import HashedPath
from agent.formats.sidefile_reader import read_metadata, read_properties
from agent.formats.sidefiles import (
    SideFileTrouble,
    SideProperties,
    attributes,
    merge_metadata,
    merge_properties,
)
from agent.model.codes import SideFileStatus

SAMPLES = Path(__file__).parents[1] / "data/metadata"
MD5 = bytes.fromhex("96fa630d0dcca3636c7dc493a2bbbba6")


def file(data: bytes) -> HashedPath:
    return HashedPath("\\meta\\x.xml", hashlib.md5(data).digest())


def metadata(text: str | bytes) -> dict[str, str] | SideFileTrouble:
    data = text.encode() if isinstance(text, str) else text
    return read_metadata(file(data), data)


def properties(text: str | bytes) -> SideProperties | SideFileTrouble:
    data = text.encode() if isinstance(text, str) else text
    return read_properties(file(data), data)


def test_the_samples_are_read() -> None:
    assert metadata((SAMPLES / "metadata.xml").read_bytes()) == {
        "UploadMethod": "drive",
        "DataSetName": "harbour",
    }
    assert properties((SAMPLES / "properties-import.xml").read_bytes()) == SideProperties(
        content_type="image/jpeg", content_language="en-GB", content_md5=MD5
    )


def test_read_only_properties_of_an_export_are_ignored_and_listed() -> None:
    found = properties((SAMPLES / "properties-export.xml").read_bytes())
    assert isinstance(found, SideProperties)
    assert found.ignored == ("Last-Modified", "Etag", "Content-Length")
    assert (found.content_encoding, found.cache_control) == ("identity", "no-cache")


def test_another_md5_is_corrupted_whatever_the_content() -> None:
    data = b"<Metadata><a>1</a></Metadata>"
    found = read_metadata(HashedPath("\\m", bytes(16)), data)
    assert isinstance(found, SideFileTrouble)
    assert found.status is SideFileStatus.CORRUPTED


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<Metadata><a-b>1</a-b></Metadata>", "'a-b'"),
        ("<Metadata><größe>1</größe></Metadata>", "größe"),
        ("<Metadata><a>1</a><A>2</A></Metadata>", "stands twice"),
        ("<Metadata><a>é</a></Metadata>", "HTTP header"),
        ("<Metadata><a>x&#13;&#10;x-ms-evil: 1</a></Metadata>", "HTTP header"),
        ("<Metadata><a><b/></a></Metadata>", "only text"),
        ("<Metadata><a>" + "x" * 9000 + "</a></Metadata>", "8192"),
        ("<Metadata>" + "".join(f"<a{i}>{'x' * 1000}</a{i}>" for i in range(9)) + "</Metadata>", "8192"),
        ("<Properties/>", "root element"),
        ("<Metadata><a>1</a>", "not well-formed"),
        ("", "not well-formed"),
        ("<Metadata>\0</Metadata>", "not well-formed"),
        ('<!DOCTYPE Metadata [<!ENTITY a "1">]><Metadata><a>&a;</a></Metadata>', "document type"),
        ('<!DOCTYPE Metadata SYSTEM "file:///etc/passwd"><Metadata/>', "document type"),
        ("<Metadata>" + "<a>" * 1000, "only text"),
        ("<Metadata>" + " " * (1 << 20) + "</Metadata>", "at most 1048576"),
    ],
)
def test_a_bad_metadata_file_is_one_line_of_trouble(text: str, says: str) -> None:
    found = metadata(text)
    assert isinstance(found, SideFileTrouble)
    assert found.status is SideFileStatus.XML_READ_FAILED
    assert says in found.detail
    assert "x.xml" in found.detail
    assert found.detail.isprintable()
    assert len(found.detail) < 400


@pytest.mark.parametrize("text", ["Zm9v", "not base64", "lvpjDQ3Mo2NsfcSToru7pg==x"])
def test_a_content_md5_is_16_bytes_in_base64(text: str) -> None:
    found = properties(f"<Properties><Content-MD5>{text}</Content-MD5></Properties>")
    assert isinstance(found, SideFileTrouble)
    assert "Content-MD5" in found.detail


def test_a_property_twice_is_trouble() -> None:
    found = properties(
        "<Properties><Content-Type>a</Content-Type><Content-Type>b</Content-Type></Properties>"
    )
    assert isinstance(found, SideFileTrouble)


def test_the_own_file_stands_over_the_list_value_by_value() -> None:
    merged = merge_metadata({"Owner": "list", "Lot": "7"}, {"owner": "blob", "New": "1"})
    assert merged == {"Lot": "7", "owner": "blob", "New": "1"}
    default = SideProperties(
        content_type="a/b", cache_control="no-cache", content_language="en", content_md5=MD5
    )
    own = SideProperties(content_type="c/d", content_language="")
    result = attributes(merged, merge_properties(default, own))
    assert (result.content_type, result.cache_control, result.content_language) == ("c/d", "no-cache", None)
    assert result.content_md5 is None
    assert result.metadata == merged
