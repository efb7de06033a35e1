"""`volume info`: how far the way into a drive goes, step by step, and why it ends where it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from agent.cli.volume_source import Bench
from agent.errors import BitLockerProtectorNotFound, DriveError, IngestError, VolumeNotNtfs
from agent.model.keys import type_names
from agent.volume.bitlocker import DecryptedVolume, Metadata, is_bitlocker, read_metadata
from agent.volume.block import BlockSource, read
from agent.volume.ntfs import NtfsVolume
from agent.volume.ntfs.geometry import BOOT_BYTES, Geometry, parse_boot_sector, read_geometry
from agent.volume.ntfs.table import MasterFileTable
from agent.volume.opening import check_copies, check_not_wiped, keys_that_open, unlock_volume
from agent.volume.partitions import ChosenVolume, Layout, find_volumes, first_data_volume
from agent.volume.window import WindowCache


class Step(StrEnum):
    """The way into a drive, in its order."""

    PARTITIONS = "partition table"
    CHOICE = "choice of the volume"
    METADATA = "BitLocker metadata"
    UNLOCK = "BitLocker unlock"
    FILESYSTEM = "filesystem"
    DONE = "done"


@dataclass(slots=True)
class Survey:
    """What is known of a drive. ``step`` is where the survey ended; with ``error`` unless that was meant.

    ``copies`` says what is wrong with each BitLocker metadata copy, ``opened_by`` names the kind of key;
    ``boot_problem`` what is wrong with the first NTFS boot sector, whose backup was then used. A survey
    without an error that ended at UNLOCK lacks a key.
    """

    step: Step = Step.PARTITIONS
    error: IngestError | None = None
    layout: Layout | None = None
    chosen: ChosenVolume | None = None
    is_encrypted: bool | None = None
    metadata: Metadata | None = None
    copies: tuple[str | None, ...] = ()
    opened_by: str | None = None
    geometry: Geometry | None = None
    boot_problem: str | None = None
    record_count: int | None = None
    ntfs: NtfsVolume | None = field(default=None, repr=False)


def survey(bench: Bench) -> Survey:
    """Goes as far as it can. Raises nothing of the error tree: what it met is in ``error``."""
    found = Survey()
    try:
        _walk(bench, found)
    except IngestError as error:
        found.error = error
    return found


def _walk(bench: Bench, found: Survey) -> None:
    found.layout = find_volumes(bench.drive)
    found.step = Step.CHOICE
    found.chosen = first_data_volume(bench.drive)
    volume: BlockSource = found.chosen.source
    found.step = Step.METADATA
    found.is_encrypted = is_bitlocker(volume)
    if found.is_encrypted:
        found.metadata = metadata = read_metadata(volume)
        found.copies = check_copies(volume, metadata)
        found.step = Step.UNLOCK
        plain = _unlock(bench, found, volume, metadata)
        if plain is None:
            return
        found.metadata, found.copies = plain.metadata, check_copies(volume, plain.metadata)
        volume = plain
    found.step = Step.FILESYSTEM
    _look_at_ntfs(found, volume)
    found.step = Step.DONE


def _unlock(bench: Bench, found: Survey, volume: BlockSource, metadata: Metadata) -> DecryptedVolume | None:
    """None when all that is missing is a key."""
    credential = bench.credential
    try:
        plain = unlock_volume(volume, metadata, credential)
    except BitLockerProtectorNotFound:
        if credential is None and keys_that_open(metadata):
            return None
        raise
    found.opened_by = type_names[type(credential)] if credential is not None else "clear key"
    return plain


def _look_at_ntfs(found: Survey, volume: BlockSource) -> None:
    try:
        found.geometry = geometry = read_geometry(volume)
    except VolumeNotNtfs:
        if not found.is_encrypted:
            check_not_wiped(volume)
        raise
    try:
        parse_boot_sector(read(volume, 0, BOOT_BYTES), volume.size_bytes)
    except DriveError as error:
        found.boot_problem = error.detail
    cached = WindowCache(volume)
    found.record_count = MasterFileTable(cached, geometry).record_count
    found.ntfs = NtfsVolume.open(cached)
