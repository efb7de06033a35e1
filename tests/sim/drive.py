"""A small drive with one of every kind of blob, and what must be in the store when it is done."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from agent.model.blobs import BlobName
from agent.model.codes import BlobType, Disposition
from fixtures.demo_manifest import md5_hex
from fixtures.demo_tree import side_file
from fixtures.ntfs_made import MadeVolume
from fixtures.ntfs_records import DATA, ROOT, file_name, mapped, name_value, reference, resident

SERIAL = "SIM-0001"
MANIFEST = "MANIFEST.XML"
BLOCK_BYTES = 64 * 1024
CLUSTER_BYTES = 4096
_FIRST_RECORD, _FIRST_CLUSTER = 24, 100
_RESIDENT_BYTES = 700


@dataclass(frozen=True, slots=True)
class Listed:
    """A blob of the manifest. ``ids`` is "md5", "counter" or "" for blocks without any.

    ``lists_blocks`` False: the manifest leaves the blocks to the station. ``ranges`` makes it a page blob.
    ``spoilt``: the manifest promises another content of the last block.
    """

    blob: str
    file: str
    content: bytes | None
    disposition: str = "no-overwrite"
    ids: str = ""
    lists_blocks: bool = True
    ranges: tuple[tuple[int, int], ...] = ()
    spoilt: bool = False
    metadata: bool = False


@dataclass(frozen=True, slots=True)
class SimDrive:
    """The image; what lies in the store beforehand; what must lie there afterwards, and in the books.

    ``asks`` is what the job asks for, as fields of ``tests.kit.transfer.Drive``.
    """

    image: bytes = field(repr=False)
    asks: dict[str, Any]
    planted: dict[BlobName, bytes]
    expected: dict[BlobName, bytes]
    either: frozenset[frozenset[BlobName]]
    """Names among which files of one name are shared out in any order."""
    pages: frozenset[BlobName]
    counts: dict[str, int]
    files: dict[str, bytes] = field(repr=False)


def _noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


@cache
def sim_drive() -> SimDrive:
    """Every kind of blob and every disposition, on a volume of some thirty files."""
    block = _noise(BLOCK_BYTES, 1)
    big = block + _noise(BLOCK_BYTES, 2) + block + _noise(BLOCK_BYTES, 3) + _noise(777, 4)
    disk = _noise(96 * 1024, 5)
    listed = [
        Listed("one/empty", "E.DAT", b""),
        Listed("one/resident", "R.DAT", b"a resident file"),
        *(Listed(f"one/small/{n:02}", f"S{n:02}.DAT", _noise(700 + 2900 * n, 100 + n)) for n in range(10)),
        Listed("two/dressed", "M.DAT", _noise(5000, 6), metadata=True),
        Listed("one/skipped", "K.DAT", _noise(6000, 7)),
        Listed("one/skipped-big", "KB.DAT", _noise(140_000, 8)),
        Listed("one/over", "O.DAT", _noise(7000, 9), "overwrite"),
        Listed("one/over-big", "OB.DAT", _noise(200_000, 10), "overwrite", lists_blocks=False),
        Listed("one/over.vhd", "OV.DAT", disk[::-1], "overwrite", ranges=((0, 65536), (65536, 32768))),
        Listed("one/pair.txt", "P1.DAT", b"the first of a pair" * 90, "rename"),
        Listed("one/pair.txt", "P2.DAT", b"the second of a pair" * 90, "rename"),
        Listed("one/taken.bin", "T.DAT", _noise(150_000, 11), "rename"),
        Listed("one/big", "BIG.DAT", big, ids="md5"),
        Listed("two/counted", "CNT.DAT", _noise(3 * BLOCK_BYTES + 5, 12), ids="counter"),
        Listed("one/unlisted", "U.DAT", _noise(4 * BLOCK_BYTES, 13), lists_blocks=False),
        Listed(
            "one/disk.vhd", "V.DAT", _with_hole(disk), ranges=((0, 16384), (32768, 32768), (65536, 32768))
        ),
        Listed("one/spoilt", "X.DAT", _noise(2 * BLOCK_BYTES + 9, 14), spoilt=True),
        Listed("one/missing", "GONE.DAT", None),
    ]
    foreign = {"one/skipped", "one/skipped-big", "one/over", "one/over-big", "one/taken.bin"}
    planted = {BlobName.parse(text): f"somebody else's {text}".encode() for text in foreign}
    planted[BlobName.parse("one/over.vhd")] = b"somebody else's disk".ljust(512, b"\0")
    expected = dict(planted)
    names = {"one/pair.txt": ["one/pair.txt", "one/pair (2).txt"], "one/taken.bin": ["one/taken (2).bin"]}
    for item in listed:
        if item.content is not None and not item.spoilt and not item.blob.startswith("one/skipped"):
            name = names[item.blob].pop(0) if item.blob in names else item.blob
            expected[BlobName.parse(name)] = item.content
    files = _files(listed)
    return SimDrive(
        image=_image(files),
        asks={"manifest_file": f"\\{MANIFEST}", "destination": None},
        planted=planted,
        expected=expected,
        either=frozenset({frozenset(map(BlobName.parse, ("one/pair.txt", "one/pair (2).txt")))}),
        pages=frozenset(BlobName.parse(item.blob) for item in listed if item.ranges),
        counts={"discovered": len(listed), "done": len(listed) - 4, "failed": 2, "skipped": 2},
        files=files,
    )


@cache
def sim_volume() -> SimDrive:
    """The same volume without its manifest: all files, renamed where somebody has been before."""
    listed = sim_drive()
    taken = {"BIG.DAT": "BIG (2).DAT", "S05.DAT": "S05 (2).DAT"}
    planted = {BlobName.parse(f"one/all/{file}"): f"somebody else's {file}".encode() for file in taken}
    expected = {
        BlobName.parse(f"one/all/{taken.get(file, file)}"): content for file, content in listed.files.items()
    }
    return SimDrive(
        image=listed.image,
        asks={"manifest_file": None, "destination": "one/all/", "disposition": Disposition.RENAME},
        planted=planted,
        expected=planted | expected,
        either=frozenset(),
        pages=frozenset(),
        counts={"discovered": len(expected), "done": len(expected), "failed": 0, "skipped": 0},
        files=listed.files,
    )


def kind_of(drive: SimDrive, name: BlobName) -> BlobType:
    """What a blob of the drive must be."""
    return BlobType.PAGE if name in drive.pages else BlobType.BLOCK


def _with_hole(disk: bytes) -> bytes:
    """Zeros where the page ranges leave a gap, so that the blob equals the file."""
    return disk[:16384] + bytes(16384) + disk[32768:]


def _files(listed: list[Listed]) -> dict[str, bytes]:
    metadata = side_file("Metadata", {"Rating": "5", "Album": "summer"})
    properties = side_file("Properties", {"Content-Type": "image/jpeg"})
    files = {item.file: item.content for item in listed if item.content is not None}
    files |= {"META.XML": metadata, "PROP.XML": properties}
    files[MANIFEST] = "\r\n".join(_manifest(listed, metadata, properties)).encode()
    return files


def _image(files: dict[str, bytes]) -> bytes:
    names = sorted(files)
    volume = MadeVolume(
        record_bytes=4096, mft=((4, 64),), mirror_cluster=90, total_clusters=900, upcase_cluster=860
    )
    cluster = _FIRST_CLUSTER
    # They lie on the disk in another order than in the manifest.
    for n in random.Random(3).sample(range(len(names)), len(names)):
        content = files[names[n]]
        used = -(-len(content) // CLUSTER_BYTES)
        if len(content) <= _RESIDENT_BYTES:
            data = resident(DATA, content)
        else:
            data = mapped(DATA, [(cluster, used)], len(content))
            volume.clusters |= {cluster: content}
            cluster += used
        volume.add(_FIRST_RECORD + n, file_name(ROOT, names[n]), data)
    volume.index = [(reference(_FIRST_RECORD + n), name_value(ROOT, name)) for n, name in enumerate(names)]
    return volume.build()


def _manifest(listed: list[Listed], metadata: bytes, properties: bytes) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield '<DriveManifest Version="2014-11-01"><Drive>'
    yield f"<DriveId>{SERIAL}</DriveId><StorageAccountKey>aGVyZSBpcyBub25l</StorageAccountKey>"
    yield '<ClientCreator>simulation</ClientCreator><BlobList Id="sim#1-0">'
    for item in listed:
        yield "<Blob>"
        yield f"<BlobPath>{escape(item.blob)}</BlobPath><FilePath>\\{item.file}</FilePath>"
        yield f"<Length>{len(item.content or b'')}</Length>"
        yield f"<ImportDisposition>{item.disposition}</ImportDisposition>"
        if item.ranges:
            yield from _ranges(item)
        elif item.lists_blocks:
            yield from _blocks(item)
        if item.metadata:
            yield f'<MetadataPath Hash="{md5_hex(metadata)}">\\META.XML</MetadataPath>'
            yield f'<PropertiesPath Hash="{md5_hex(properties)}">\\PROP.XML</PropertiesPath>'
        yield "</Blob>"
    yield "</BlobList></Drive></DriveManifest>"


def _ranges(item: Listed) -> Iterator[str]:
    assert item.content is not None
    yield "<PageRangeList>"
    for at, length in item.ranges:
        digest = md5_hex(item.content[at : at + length])
        yield f'<PageRange Offset="{at}" Length="{length}" Hash="{digest}" />'
    yield "</PageRangeList>"


def _blocks(item: Listed) -> Iterator[str]:
    content = item.content or b""
    yield "<BlockList>"
    for number, at in enumerate(range(0, len(content), BLOCK_BYTES)):
        data = content[at : at + BLOCK_BYTES]
        is_last = at + BLOCK_BYTES >= len(content)
        digest = md5_hex(b"something else") if item.spoilt and is_last else md5_hex(data)
        yield f'<Block Offset="{at}" Length="{len(data)}"{_id(item, number, data)} Hash="{digest}" />'
    yield "</BlockList>"


def _id(item: Listed, number: int, data: bytes) -> str:
    match item.ids:
        case "md5":
            return f' Id="MD5/{base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()}"'
        case "counter":
            return f' Id="{base64.b64encode(number.to_bytes(4, "little")).decode()}"'
        case _:
            return ""
