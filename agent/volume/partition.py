"""Values of a partition table of any kind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PartitionTable(StrEnum):
    """How the disk is divided."""

    GPT = "GPT"
    MBR = "MBR"
    NONE = "none"


class PartitionRole(StrEnum):
    """What a partition is for, as its type code says. Only DATA is ever ingested."""

    DATA = "data"
    EFI_SYSTEM = "EFI system"
    RESERVED = "Microsoft reserved"
    RECOVERY = "recovery"
    DYNAMIC_DISK = "dynamic disk"
    STORAGE_SPACES = "storage spaces"
    OTHER = "of another system"


@dataclass(frozen=True, slots=True)
class Partition:
    """``start`` and ``size_bytes`` are bytes of the disk, as its table says them.

    ``number`` is the slot in the table, from 1 (logical drives of an MBR from 5); ``type_code`` is
    the GUID or the byte in hex; ``name`` is free text of a GPT.
    """

    number: int
    start: int
    size_bytes: int
    role: PartitionRole
    type_code: str
    name: str

    @property
    def end(self) -> int:
        """The byte after its last one."""
        return self.start + self.size_bytes


@dataclass(frozen=True, slots=True)
class Layout:
    """Partitions by their place on the disk; ``remarks`` has a sentence for each thing that was wrong."""

    table: PartitionTable
    partitions: tuple[Partition, ...]
    remarks: tuple[str, ...]
