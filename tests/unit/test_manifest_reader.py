"""Drive manifests as the public samples and the leniency rules have them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.errors import ManifestDriveIdMismatch, ManifestFormatInvalid
from agent.formats.manifest import CredentialKind, HashedPath, ManifestBlob, ManifestParser
from agent.model.codes import BlobType, Disposition
from agent.model.identity import SerialNumber

DATA = Path(__file__).parents[1] / "data"
MD5 = "00F1FFBE073E6DCBA64F63CA1D17D95C"


def parse(text: str | bytes, step: int = 1 << 20) -> tuple[ManifestParser, list[ManifestBlob]]:
    data = text.encode() if isinstance(text, str) else text
    parser = ManifestParser()
    blobs = []
    for at in range(0, len(data), step):
        blobs += parser.feed(memoryview(data)[at : at + step])
    return parser, blobs + parser.close()


def drive(inner: str, version: str = "2014-11-01") -> str:
    return f'<DriveManifest Version="{version}"><Drive><DriveId>S1</DriveId>{inner}</Drive></DriveManifest>'


def blob(inner: str, length: int = 18, path: str = "c/b") -> str:
    return drive(
        f"<BlobList><Blob><BlobPath>{path}</BlobPath><FilePath>\\f</FilePath>"
        f"<Length>{length}</Length>{inner}</Blob></BlobList>"
    )


def block(offset: int | str, length: int | str, id: str | None = None, md5: str = MD5) -> str:
    name = "" if id is None else f' Id="{id}"'
    return f'<Block Offset="{offset}" Length="{length}"{name} Hash="{md5}"/>'


def blocks(*items: str) -> str:
    return f"<BlockList>{''.join(items)}</BlockList>"


def pages(*items: tuple[int, int]) -> str:
    inner = "".join(f'<PageRange Offset="{o}" Length="{n}" Hash="{MD5}"/>' for o, n in items)
    return f"<PageRangeList>{inner}</PageRangeList>"


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_the_account_key_sample_reads_the_same_in_windows_of_any_size(step: int) -> None:
    parser, blobs = parse((DATA / "manifest/import-account-key.xml").read_bytes(), step)
    header = parser.header
    assert header is not None
    assert (header.version, str(header.drive_id)) == ("2014-11-01", "SMPL0001A")
    assert header.credential_kind is CredentialKind.ACCOUNT_KEY
    assert header.client_creator == "sample-writer 1.0"
    assert parser.warnings == ()
    assert [b.blob_path for b in blobs] == ["photos/2024/harbour.jpg", "$root/read me.txt", "vhds/disk0.vhd"]
    assert [b.list_index for b in blobs] == [0, 0, 1]
    assert [b.disposition for b in blobs] == [
        Disposition.RENAME,
        Disposition.NO_OVERWRITE,
        Disposition.OVERWRITE,
    ]
    assert [b.type for b in blobs] == [BlobType.BLOCK, BlobType.BLOCK, BlobType.PAGE]
    assert [(c.offset, c.length) for c in blobs[2].chunks] == [(0, 1024), (4096, 512)]
    assert blobs[0].properties == HashedPath(
        "\\session-1\\photos\\harbour.jpg.properties", bytes.fromhex("BE10CEC806C7AD8526CD731754C4037D")
    )
    assert blobs[1].list_metadata == blobs[0].list_metadata is not None
    assert blobs[2].list_metadata is None


def test_every_hash_of_the_sample_manifest_matches_the_sample_drive() -> None:
    _, blobs = parse((DATA / "sample-drive/DriveManifest.xml").read_bytes())
    checked = 0
    for each in blobs:
        content = (DATA / "sample-drive" / each.file_path.strip("\\").replace("\\", "/")).read_bytes()
        assert len(content) == each.length
        for chunk in each.chunks:
            assert hashlib.md5(content[chunk.offset : chunk.offset + chunk.length]).digest() == chunk.md5
            checked += 1
    assert checked == 6


def test_the_sas_is_read_unescaped_and_never_shown() -> None:
    parser, _ = parse((DATA / "manifest/import-container-sas.xml").read_bytes())
    header = parser.header
    assert header is not None
    assert header.credential is not None
    assert header.credential_kind is CredentialKind.CONTAINER_SAS
    assert header.credential.reveal().endswith("&sp=rwd&sig=placeholder%3D")
    assert "placeholder" not in repr(header)


def test_an_export_has_a_snapshot_and_no_credential() -> None:
    parser, (only,) = parse((DATA / "manifest/export-with-snapshot.xml").read_bytes())
    header = parser.header
    assert header is not None
    assert not header.has_credential
    assert only.snapshot == "2024-02-03T04:05:06.0070000Z"
    assert [c.id for c in only.chunks] == ["AAAAAA==", "AQAAAA==", "AgAAAA=="]


def test_unknown_elements_and_attributes_are_skipped_with_all_they_hold() -> None:
    inner = f"<New x='1'><Blob><BlobPath>no</BlobPath></Blob></New>{blocks(block(0, 18))}"
    _, (only,) = parse(blob(inner).replace("<Drive>", "<Extra><Drive/></Extra><Drive new='y'>"))
    assert only.blob_path == "c/b"
    assert len(only.chunks) == 1


def test_children_of_a_blob_may_stand_in_any_order() -> None:
    _, (only,) = parse(
        drive(
            f"<ClientCreator>x</ClientCreator><StorageAccountKey>k</StorageAccountKey><BlobList Id='#1-0'>"
            f"<Blob>{blocks(block(0, 5))}<Length> 5 </Length><ImportDisposition>Overwrite</ImportDisposition>"
            "<FilePath>\\f</FilePath><ClientData>note</ClientData><BlobPath>c/b</BlobPath></Blob></BlobList>"
        )
    )
    assert (only.length, only.disposition, only.client_data) == (5, Disposition.OVERWRITE, "note")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_newlines_hash_case_and_blanks_do_not_matter(newline: str, mark: bytes) -> None:
    text = blob(blocks(block(0, 18, md5=f" {MD5.lower()} "))).replace("><", f">{newline}<")
    _, (only,) = parse(mark + text.encode())
    assert only.chunks[0].md5.hex().upper() == MD5


def test_utf_16_is_read_too() -> None:
    text = '<?xml version="1.0" encoding="utf-16"?>' + blob(blocks(block(0, 18)), path="c/häfen")
    _, (only,) = parse(text.encode("utf-16"))
    assert only.blob_path == "c/häfen"


def test_another_version_is_a_warning() -> None:
    parser, blobs = parse(drive("<BlobList/>", version="2031-01-01"))
    assert blobs == []
    assert "2031-01-01" in parser.warnings[0]


def test_a_blob_without_a_list_is_handed_on_as_not_covered() -> None:
    parser, (only,) = parse(blob(""))
    assert not only.is_covered
    assert len(parser.warnings) == 1


@pytest.mark.parametrize("inner", ["", blocks(), blocks(block(0, 0))])
def test_an_empty_blob_has_no_chunks_and_is_covered(inner: str) -> None:
    _, (only,) = parse(blob(inner, length=0))
    assert only.chunks == ()
    assert only.is_covered


def test_names_that_the_service_refuses_do_not_stop_the_manifest() -> None:
    _, (only,) = parse(blob(blocks(block(0, 18)), path="Bad Container/../x"))
    assert only.blob_path == "Bad Container/../x"


def test_equal_blocks_may_share_an_id() -> None:
    _, (only,) = parse(blob(blocks(block(0, 9, "AAAA"), block(9, 9, "AAAA"))))
    assert [c.id for c in only.chunks] == ["AAAA", "AAAA"]


def test_a_page_blob_may_have_holes() -> None:
    _, (only,) = parse(blob(pages((512, 512), (4096, 1024)), length=1 << 20))
    assert only.is_covered
    assert only.type is BlobType.PAGE


@pytest.mark.parametrize(
    ("inner", "length", "says"),
    [
        (blocks(block(1, 17)), 18, "starts at 1"),
        (blocks(block(0, 9), block(10, 8)), 18, "starts at 10, and the one before it ends at 9"),
        (blocks(block(0, 9), block(8, 10)), 18, "starts at 8"),
        (blocks(block(0, 17)), 18, "end at 17"),
        (blocks(), 18, "end at 0"),
        (blocks(block(0, 0), block(0, 18)), 18, "0 bytes"),
        (blocks(block(0, (4 << 20) + 1)), (4 << 20) + 1, "4 MiB"),
        (blocks(block(0, 9, "AAAA"), block(9, 9)), 18, "some blocks have an Id"),
        (blocks(block(0, 9), block(9, 9, "AAAA")), 18, "some blocks have an Id"),
        (blocks(block(0, 9, "AAAA"), block(9, 9, "AAAAAAAA")), 18, "characters in one blob"),
        (blocks(block(0, 9, "AAAA"), block(9, 9, "AAAA", "F" * 32)), 18, "other content"),
        (blocks(block(0, 18, "A_A=")), 18, "not Base64"),
        (blocks(block(0, 18, "A" * 88)), 18, "66 bytes"),
        (blocks(block(0, 18, md5="00")), 18, "32 hex digits"),
        (blocks(block(0, 18, md5="0" * 31 + "g")), 18, "32 hex digits"),
        (blocks(block(0, -18)), 18, "whole number"),
        (blocks(block("١", 18)), 18, "whole number"),
        (blocks(block(0, 1 << 63)), 18, "whole number"),
        (blocks(*(block(i, 1) for i in range(50_001))), 50_001, "50000 blocks"),
        (blocks() + pages(), 0, "second list"),
        (blocks('<Block Offset="0" Length="18"/>'), 18, "Hash is missing"),
        (blocks(f'<Block Length="18" Hash="{MD5}"/>'), 18, "Offset is missing"),
        (pages((100, 512)), 1024, "multiples of 512"),
        (pages((0, 100)), 1024, "multiples of 512"),
        (pages((0, 0)), 1024, "multiples of 512"),
        (pages((512, 512), (0, 512)), 1024, "starts at 0"),
        (pages((0, 1024), (512, 512)), 2048, "starts at 512"),
        (pages((1024, 512)), 1024, "end at 1536"),
        (pages((0, 512)), 1023, "must be a multiple of 512"),
        (pages((0, (4 << 20) + 512)), 8 << 20, "4 MiB"),
        ("<ImportDisposition>maybe</ImportDisposition>", 18, "'maybe'"),
        ("<Snapshot>yesterday</Snapshot>", 18, "not a time"),
        ("<Length>18</Length>", 18, "Length stands twice"),
        ("<MetadataPath>\\m</MetadataPath>", 18, "Hash is missing"),
    ],
)
def test_a_broken_rule_names_blob_line_and_rule(inner: str, length: int, says: str) -> None:
    with pytest.raises(ManifestFormatInvalid) as caught:
        parse(blob("\n" + inner, length=length))
    message = caught.value.detail
    assert says in message
    assert "line 2" in message
    assert "c/b" in message or "MetadataPath" in message
    assert "\n" not in message


@pytest.mark.parametrize("missing", ["BlobPath", "FilePath", "Length"])
def test_a_blob_must_have_both_names_and_a_length(missing: str) -> None:
    text = blob("").replace(f"<{missing}>", "<Other>").replace(f"</{missing}>", "</Other>")
    with pytest.raises(ManifestFormatInvalid, match=f"it has no {missing}"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (drive("").replace("<DriveId>S1</DriveId>", "<BlobList/><DriveId>S1</DriveId>"), "DriveId must come"),
        (drive("<DriveId>S1</DriveId>"), "DriveId stands twice"),
        (drive("").replace("S1", " "), "serial number is empty"),
        ('<DriveManifest Version="2014-11-01"/>', "no DriveId"),
        (drive("").replace("</DriveManifest>", "<Drive/></DriveManifest>"), "second Drive"),
        (drive("<ContainerSas>a</ContainerSas><StorageAccountKey>b</StorageAccountKey>"), "more than one"),
        (f"<x>{drive('')}</x>", "root element 'x'"),
        (
            drive(
                "<BlobList><Blob><BlobPath/><FilePath/><Length>0</Length></Blob>"
                f'<MetadataPath Hash="{MD5}"/></BlobList>'
            ),
            "must come before its blobs",
        ),
    ],
)
def test_a_broken_structure_is_refused(text: str, says: str) -> None:
    with pytest.raises(ManifestFormatInvalid, match=says):
        parse(text)


def test_a_manifest_of_another_drive_is_refused_with_both_serials() -> None:
    parser = ManifestParser(SerialNumber.parse("WD-2"))
    with pytest.raises(ManifestDriveIdMismatch, match=r"drive S1, and this drive is WD-2"):
        parser.feed(drive("<BlobList/>").encode())
    with pytest.raises(ManifestDriveIdMismatch):
        parser.close()


def test_blanks_in_a_serial_make_no_other_drive() -> None:
    parser = ManifestParser(SerialNumber.parse("S 1"))
    assert parser.feed(drive("<BlobList/>").encode()) == []
    assert parser.close() == []
