"""What a BitLocker volume says of itself, from one of its three metadata copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from agent.errors import BitLockerFailed, DiskOperationFailed
from agent.volume.bitlocker.block import BLOCK_BYTES, MetadataBlock, parse_block
from agent.volume.bitlocker.ciphers import cipher_name
from agent.volume.bitlocker.entries import ROLE_DESCRIPTION, text_of
from agent.volume.bitlocker.header import VolumeHeader, read_header
from agent.volume.bitlocker.protectors import Protector, parse_protectors
from agent.volume.bitlocker.state import refusal, state_name
from agent.volume.block import BlockSource, read


@dataclass(frozen=True, slots=True)
class Metadata:
    """Parsed and consistent with itself; not authenticated before ``unlock`` has done so.

    ``copy_used`` is 1, 2 or 3; ``copy_problems`` has a sentence for each copy before it that is
    damaged or, once unlocked, could not be used. Offsets and sizes are bytes on the volume. Prints no
    key material.
    """

    volume_guid: UUID
    description: str
    cipher: int
    sector_size: int
    encrypted_size_bytes: int
    current_state: int
    next_state: int
    encrypt_on_write: bool
    to_go: bool
    protectors: tuple[Protector, ...]
    copy_used: int
    copy_problems: tuple[str, ...]
    header_bytes: int
    """How much of the volume's start was moved away to make room for the boot sector."""
    header_offset: int
    """Where it was moved to."""
    metadata_offsets: tuple[int, int, int]
    block: MetadataBlock = field(repr=False)

    @property
    def cipher_name(self) -> str:
        """Such as ``AES-XTS-128``."""
        return cipher_name(self.cipher)

    @property
    def state(self) -> str:
        """For people: ``encrypted``, ``decrypted``, ``being encrypted`` and the like."""
        return state_name(self.current_state, self.next_state, encrypt_on_write=self.encrypt_on_write)

    @property
    def state_refusal(self) -> str | None:
        """Why the volume is not read in its state; None when it is fully encrypted."""
        return refusal(self.current_state, self.next_state, encrypt_on_write=self.encrypt_on_write)

    @property
    def place(self) -> str:
        """Such as ``copy 2 at byte 46256128``."""
        return place_of(self.copy_used, self.metadata_offsets[self.copy_used - 1])


@dataclass(frozen=True, slots=True)
class DamagedCopy:
    """A metadata copy that cannot be read or contradicts itself; ``problem`` names place and trouble."""

    problem: str


def place_of(number: int, offset: int) -> str:
    """How messages name a copy."""
    return f"copy {number} at byte {offset}"


def read_metadata(source: BlockSource) -> Metadata:
    """The metadata of the volume that starts at byte 0 of ``source``: the first copy that is sound.

    Raises BitLockerNotActivated when it is not BitLocker; BitLockerFailed for Vista's version 1, an
    unknown format, or when all three copies are damaged; UnreadableSectors when the boot sector
    cannot be read. A volume that ``unlock`` refuses (still converting, unknown cipher) is described.
    """
    problems = []
    for copy in _read_copies(source, read_header(source), 1, ()):
        if isinstance(copy, Metadata):
            return copy
        problems.append(copy.problem)
    raise BitLockerFailed("all three metadata copies are damaged: " + "; ".join(problems))


def later_copies(source: BlockSource, metadata: Metadata) -> Iterator[Metadata | DamagedCopy]:
    """The copies behind the one that ``metadata`` was read from, each read when it is asked for."""
    header = VolumeHeader(
        metadata.sector_size, metadata.encrypt_on_write, metadata.to_go, metadata.metadata_offsets
    )
    return _read_copies(source, header, metadata.copy_used + 1, metadata.copy_problems)


def _read_copies(
    source: BlockSource, header: VolumeHeader, first: int, problems: tuple[str, ...]
) -> Iterator[Metadata | DamagedCopy]:
    for number, offset in enumerate(header.metadata_offsets[first - 1 :], first):
        try:
            yield _read_copy(source, header, number, offset, problems)
        except (BitLockerFailed, DiskOperationFailed) as error:
            damaged = DamagedCopy(f"{place_of(number, offset)}: {error.detail}")
            problems = (*problems, damaged.problem)
            yield damaged


def _read_copy(
    source: BlockSource, header: VolumeHeader, number: int, offset: int, problems: tuple[str, ...]
) -> Metadata:
    block = parse_block(read(source, offset, BLOCK_BYTES))
    if block.metadata_offsets != header.metadata_offsets:
        raise BitLockerFailed("it lists other places of the copies than the boot sector")
    _check_geometry(block, header.sector_size)
    descriptions = [text_of(entry) for entry in block.entries if entry.role == ROLE_DESCRIPTION]
    return Metadata(
        volume_guid=block.volume_guid,
        description=descriptions[0] if descriptions else "",
        cipher=block.cipher,
        sector_size=header.sector_size,
        encrypted_size_bytes=block.encrypted_size_bytes,
        current_state=block.current_state,
        next_state=block.next_state,
        encrypt_on_write=header.encrypt_on_write,
        to_go=header.to_go,
        protectors=parse_protectors(block.entries),
        copy_used=number,
        copy_problems=problems,
        header_bytes=block.header_sectors * header.sector_size,
        header_offset=block.header_offset,
        metadata_offsets=block.metadata_offsets,
        block=block,
    )


def _check_geometry(block: MetadataBlock, sector_size: int) -> None:
    """Everything lies at sectors; whether it lies on the device, only the device's size can tell."""
    places = (block.encrypted_size_bytes, block.header_offset, *block.metadata_offsets)
    for place in places:
        if place % sector_size:
            raise BitLockerFailed(
                f"it points to byte {place}, which is not at a sector of {sector_size} bytes"
            )
    moved_end = block.header_offset + block.header_sectors * sector_size
    if moved_end > block.encrypted_size_bytes:
        raise BitLockerFailed(
            f"the moved volume header ends at byte {moved_end}, "
            f"past the encrypted size of {block.encrypted_size_bytes} bytes"
        )
