"""A BitLocker drive with a manifest on which nothing is wrong: the demo drive, put right."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from fixtures.bitlocker import make_volume
from fixtures.fve_ciphers import Cipher
from fixtures.fve_protectors import RecoveryPassword
from fixtures.images import base_image

PLANTED = ("/documents/ledger.csv", "/photos/2024/06/DSC_9999.jpg", "/for everyone.txt")
"""Blobs of the demo drive that are damaged, missing, or in a container that another drive has too."""
END = b"</DriveManifest>"


@dataclass(frozen=True, slots=True)
class WholeDrive:
    """``image`` is a bare volume; ``files`` are the blobs that its manifest lists."""

    image: Path
    serial: str
    recovery_password: str
    manifest_hash: str
    files: int
    size_bytes: int


def make(folder: Path, serial: str, container: str) -> WholeDrive:
    """``container`` has four characters, as the one that it takes the place of."""
    volume = bytearray(base_image("demo").volume)
    begin = volume.index(b"<?xml", volume.index(b"<DriveManifest") - 100)
    end = volume.index(END, begin) + len(END) + 1
    text, files, size = _put_right(bytes(volume[begin:end]), serial, container)
    manifest = text.ljust(end - begin, b"\n")
    volume[begin:end] = manifest
    made = make_volume(bytes(volume), cipher=Cipher.AES_XTS_128, protectors=(RecoveryPassword(),), seed=7)
    image = folder / f"{serial}.img"
    image.write_bytes(made.image)
    digest = hashlib.md5(manifest).hexdigest().upper()
    return WholeDrive(image, serial, made.recovery_passwords[0], digest, files, size)


def _put_right(manifest: bytes, serial: str, container: str) -> tuple[bytes, int, int]:
    tree = etree.fromstring(manifest.rstrip())
    identity = tree.find(".//DriveId")
    assert identity is not None
    identity.text = serial
    sizes = []
    for blob in tree.iter("Blob"):
        path = blob.find("BlobPath")
        assert path is not None
        assert path.text is not None
        if path.text.endswith(PLANTED):
            continue
        path.text = path.text.replace("demo/", f"{container}/", 1)
        sizes.append(int(blob.findtext("Length", "0")))
    for blob in [one for one in tree.iter("Blob") if one.findtext("BlobPath", "").endswith(PLANTED)]:
        parent = blob.getparent()
        assert parent is not None
        parent.remove(blob)
    text = etree.tostring(tree, xml_declaration=True, encoding="utf-8")
    assert len(text) <= len(manifest)
    return text, len(sizes), sum(sizes)
