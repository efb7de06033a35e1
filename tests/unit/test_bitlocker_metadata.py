"""The three metadata copies: which is believed, what is refused, and what is said of it."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

import pytest

from agent.errors import (
    BitLockerFailed,
    BitLockerKeyInvalid,
    BitLockerNotActivated,
    BitLockerProtectorNotFound,
    DiskOperationFailed,
    UnreadableSectors,
)
from agent.model.keys import ClearKey, StartupKey
from agent.volume.bitlocker import (
    DecryptedVolume,
    check_boot_sector_not_lost,
    is_bitlocker,
    read_metadata,
    unlock,
)
from agent.volume.block import BlockSource, BytesSource, read
from tests.unit.bitlocker_cases import (
    BLOCK_BYTES,
    COPIES,
    EOW_GUID,
    STARTUP_GUID,
    Case,
    bek_file,
    forged,
    protector,
    raw_of,
    with_copies,
    wrapped,
)

CASE = Case()
IMAGE = bytes(CASE.build())
EXPECTED = CASE.expected()
BLOCK = CASE.block()
STATE_AT, CIPHER_AT, ENCRYPTED_AT, MOVED_AT = 12, 100, 16, 56
STARTUP_PROTECTOR_AT = BLOCK.index(STARTUP_GUID.bytes_le) + 26
"""Where its kind is told."""


def opened(image: bytes | bytearray) -> DecryptedVolume:
    source = BytesSource(bytes(image))
    return unlock(source, read_metadata(source), ClearKey())


def spoiled(block: bytes, at: int) -> bytes:
    """One bit wrong."""
    return block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]


FORGERIES = {
    "moved start": forged(BLOCK, MOVED_AT, struct.pack("<Q", 589824)),
    "encrypted size": forged(BLOCK, ENCRYPTED_AT, struct.pack("<Q", 540672)),
    "longer than the drive": forged(BLOCK, ENCRYPTED_AT, struct.pack("<Q", 1 << 50)),
    "cipher": forged(BLOCK, CIPHER_AT, struct.pack("<H", 0x8002)),
    "unknown cipher": forged(BLOCK, CIPHER_AT, struct.pack("<H", 0x9999)),
    "state": forged(BLOCK, STATE_AT, struct.pack("<HH", 2, 4)),
    "no protector": forged(BLOCK, BLOCK.index(UUID(int=5).bytes_le) + 26, struct.pack("<H", 0x0100)),
    "other key": forged(BLOCK, BLOCK.index(CASE.clear), bytes(32)),
    "entries of no size": forged(BLOCK, 112, bytes(2)),
}
OTHER_PROOFS = {
    "wrong proof": Case(proof=lambda raw: sha256(raw + b"!").digest()).block(),
    "short proof": Case(proof=lambda raw: sha256(raw).digest()[:20]).block(),
    "damaged proof": spoiled(BLOCK, len(raw_of(BLOCK)) + 30),
    "proof of another type": spoiled(BLOCK, len(raw_of(BLOCK)) + 12),
    "proof too short to be one": (
        BLOCK[: len(raw_of(BLOCK)) + 8] + struct.pack("<HHHH", 40, 0, 5, 1) + bytes(BLOCK_BYTES)
    )[:BLOCK_BYTES],
    "no proof": BLOCK[: len(raw_of(BLOCK)) + 2] + b"\x01\x00" + BLOCK[len(raw_of(BLOCK)) + 4 :],
}
FALSE_COPIES = FORGERIES | OTHER_PROOFS


@pytest.mark.parametrize("damaged", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
def test_one_sound_metadata_copy_is_enough_and_the_others_are_reported(damaged: tuple[int, ...]) -> None:
    image = bytearray(IMAGE)
    for copy in damaged:
        image[COPIES[copy] + 200] ^= 1
    metadata = read_metadata(BytesSource(bytes(image)))
    sound = min({0, 1, 2} - set(damaged))
    assert metadata.copy_used == sound + 1
    assert len(metadata.copy_problems) == sound
    assert all("check sum" in problem for problem in metadata.copy_problems)
    assert read(opened(bytes(image)), 0, 512) == EXPECTED[:512]


def test_all_metadata_copies_damaged_is_a_failure_that_names_all_three() -> None:
    image = bytearray(IMAGE)
    image[COPIES[0]] ^= 1
    image[COPIES[1] + 10] ^= 7
    image[COPIES[2] + 300] ^= 1
    with pytest.raises(
        BitLockerFailed,
        match=r"copy 1 .*no signature; copy 2 .*version 5; only 2 is known; copy 3 .*check sum",
    ):
        read_metadata(BytesSource(bytes(image)))


class BadSectors:
    """A source of which some ranges cannot be read."""

    def __init__(self, data: bytes, *bad: int) -> None:
        self._inner, self._bad = BytesSource(data), bad
        self.size_bytes, self.sector_size = len(data), 512

    def read_into(self, offset: int, buffer: memoryview) -> None:
        for place in self._bad:
            if offset <= place < offset + len(buffer):
                raise UnreadableSectors(place, 512)
        self._inner.read_into(offset, buffer)


def test_copies_that_cannot_be_read_fall_back_to_one_that_can() -> None:
    source = BadSectors(IMAGE, COPIES[0] + 4096, COPIES[1])
    volume = unlock(source, read_metadata(source), ClearKey())
    assert volume.metadata.copy_used == 3
    assert all("cannot be read" in problem for problem in volume.metadata.copy_problems)
    assert read(volume, 0, 8192) == EXPECTED[:8192]


@pytest.mark.parametrize("what", FALSE_COPIES)
def test_a_copy_with_a_good_check_sum_that_is_not_authentic_falls_back_to_the_next(what: str) -> None:
    image = with_copies(IMAGE, FALSE_COPIES[what], None, None)
    metadata = read_metadata(BytesSource(image))
    assert (metadata.copy_used, metadata.copy_problems) == (1, ())
    volume = opened(image)
    assert volume.metadata.copy_used == 2
    (problem,) = volume.metadata.copy_problems
    assert problem.startswith(f"copy 1 at byte {COPIES[0]}: ")
    assert read(volume, 0, volume.size_bytes) == EXPECTED


@pytest.mark.parametrize("what", FALSE_COPIES)
def test_a_false_copy_and_a_damaged_one_leave_the_third(what: str) -> None:
    volume = opened(with_copies(IMAGE, FALSE_COPIES[what], spoiled(BLOCK, 200), None))
    assert volume.metadata.copy_used == 3
    first, second = volume.metadata.copy_problems
    assert first.startswith("copy 1 ")
    assert "copy 2" in second
    assert "check sum" in second
    assert read(volume, 0, 8192) == EXPECTED[:8192]


@pytest.mark.parametrize("what", ["moved start", "encrypted size", "state", *OTHER_PROOFS])
def test_without_an_authentic_copy_the_failure_names_the_trouble_of_each(what: str) -> None:
    false = FALSE_COPIES[what]
    image = with_copies(IMAGE, false, spoiled(BLOCK, 200), false)
    with pytest.raises(BitLockerFailed) as caught:
        opened(image)
    if what == "state":  # no copy says that the volume can be read
        assert "encryption not finished" in caught.value.detail
        return
    said = caught.value.detail.partition("no metadata copy can be used: ")[2].split("; ")
    assert [each.partition(":")[0] for each in said] == [
        f"copy {number} at byte {place}" for number, place in enumerate(COPIES, 1)
    ]
    assert "proof" in said[0] or "changed without the volume's key" in said[0]
    assert "check sum" in said[1]
    assert said[2].endswith(": the same")


def test_a_key_that_opens_a_false_copy_is_not_called_wrong() -> None:
    """The startup key opens copy 1, which is false; in the others that protector is a TPM's."""
    without = forged(BLOCK, STARTUP_PROTECTOR_AT, struct.pack("<H", 0x0100))
    image = with_copies(IMAGE, FALSE_COPIES["wrong proof"], without, without)
    source = BytesSource(image)
    with pytest.raises(BitLockerFailed, match=r"copy 1 .*changed without .*; copy 2 .*no startup key"):
        unlock(source, read_metadata(source), StartupKey.from_bytes(bek_file(CASE.startup)))


def test_a_wrong_key_is_a_wrong_key_though_a_copy_has_no_protector_for_it() -> None:
    without = forged(BLOCK, STARTUP_PROTECTOR_AT, struct.pack("<H", 0x0100))
    wrong = StartupKey.from_bytes(bek_file(bytes(32)))
    for copies in ((without, None, None), (None, without, None), (without, without, None)):
        source = BytesSource(with_copies(IMAGE, *copies))
        with pytest.raises(BitLockerKeyInvalid, match=r"copy 1 .*; copy 2 .*; copy 3 .*opens none|the same"):
            unlock(source, read_metadata(source), wrong)


def test_a_wrong_key_is_told_once_when_all_copies_agree() -> None:
    source = BytesSource(IMAGE)
    with pytest.raises(BitLockerKeyInvalid, match=r"^the startup key opens none of the 1 startup key"):
        unlock(source, read_metadata(source), StartupKey.from_bytes(bek_file(bytes(32))))


def test_a_protector_that_is_malformed_in_every_copy_is_a_failure() -> None:
    case = Case(startup_key=False, extra_protectors=protector(0x0200, STARTUP_GUID))
    source = BytesSource(bytes(case.build()))
    with pytest.raises(BitLockerFailed, match=f"startup key protector {STARTUP_GUID} holds no encrypted key"):
        unlock(source, read_metadata(source), StartupKey.from_bytes(bek_file(case.startup)))


def test_a_malformed_protector_does_not_hide_a_sound_one_of_its_kind() -> None:
    rng = random.Random(1)
    sound = protector(0x0200, UUID(int=9), wrapped(rng, CASE.startup, CASE.vmk, 0x2003))
    case = Case(startup_key=False, extra_protectors=protector(0x0200, STARTUP_GUID) + sound)
    source = BytesSource(bytes(case.build()))
    volume = unlock(source, read_metadata(source), StartupKey.from_bytes(bek_file(case.startup)))
    assert read(volume, 0, 8192) == case.plain[:8192]


def test_an_authentic_copy_is_believed_when_it_says_that_decryption_began() -> None:
    """Windows was cut off while it wrote the copies; the two old ones are authentic as well."""
    image = with_copies(IMAGE, Case(states=(2, 1)).block(), None, None)
    with pytest.raises(BitLockerFailed, match="decryption not finished"):
        opened(image)


STATES: list[tuple[tuple[int, int], UUID | None, str, str]] = [
    ((1, 1), None, "decrypted", "BitLocker is switched off"),
    ((1, 4), None, "about to be encrypted", "encryption not started"),
    ((2, 4), None, "being encrypted", "encryption not finished: the volume is being encrypted"),
    ((2, 1), None, "being decrypted", "decryption not finished: the volume is being decrypted"),
    ((3, 4), None, "encryption not finished", "encryption not finished: .*encrypt-on-write"),
    ((5, 4), None, "encryption paused", "encryption not finished: it was paused"),
    ((5, 1), None, "decryption paused", "decryption not finished: it was paused"),
    ((4, 1), None, "about to be decrypted", "decryption was ordered"),
    ((4, 2), None, "state 4, going to 2", "no state that is known"),
    ((0, 0), None, "state 0, going to 0", "no state that is known"),
    ((9, 4), None, "state 9, going to 4", "no state that is known"),
    ((4, 4), EOW_GUID, "encryption not finished", "encryption not finished: .*encrypt-on-write"),
    ((5, 4), EOW_GUID, "encryption not finished", "encryption not finished: .*encrypt-on-write"),
    ((1, 1), EOW_GUID, "decrypted", "BitLocker is switched off"),
]


@pytest.mark.parametrize(("states", "guid", "name", "message"), STATES)
def test_every_state_but_fully_encrypted_is_refused_in_its_own_words(
    states: tuple[int, int], guid: UUID | None, name: str, message: str
) -> None:
    case = Case(states=states) if guid is None else Case(states=states, guid=guid)
    source = BytesSource(bytes(case.build()))
    metadata = read_metadata(source)
    assert metadata.state == name
    numbers = rf"\(state {states[0]}, going to {states[1]}\)$"
    for credential in (ClearKey(), StartupKey.from_bytes(bek_file(bytes(32)))):
        with pytest.raises(BitLockerFailed, match=f"{message}.*{numbers}"):
            unlock(source, metadata, credential)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case(method=0x8006), "unknown cipher 0x8006"),
        (Case(fvek_method=0x8002), "volume key is for cipher 0x8002, the metadata says 0x8004"),
    ],
)
def test_a_cipher_that_cannot_be_is_refused(case: Case, message: str) -> None:
    with pytest.raises(BitLockerFailed, match=message):
        opened(case.build())


def test_a_vista_volume_is_refused_by_name() -> None:
    image = b"\xeb\x52\x90" + IMAGE[3:]
    assert is_bitlocker(BytesSource(image))
    with pytest.raises(BitLockerFailed, match="Vista"):
        read_metadata(BytesSource(image))


def test_metadata_of_version_1_is_refused_with_the_version() -> None:
    old = forged(BLOCK, 10, struct.pack("<H", 1))
    with pytest.raises(BitLockerFailed, match="version 1; only 2 is known"):
        read_metadata(BytesSource(with_copies(IMAGE, old, old, old)))


@pytest.mark.parametrize(
    ("at", "new", "message"),
    [
        (11, b"\x01\x02", "sector size of 513"),
        (160, bytes(16), "unknown BitLocker format"),
        (176, b"\xff" * 24, "all three metadata copies"),
        (176, struct.pack("<Q", COPIES[1]), "lists other places of the copies than the boot sector"),
    ],
)
def test_a_boot_sector_that_cannot_be_followed_is_refused(at: int, new: bytes, message: str) -> None:
    image = IMAGE[:at] + new + IMAGE[at + len(new) :]
    with pytest.raises(BitLockerFailed, match=message):
        read_metadata(BytesSource(image))


@pytest.mark.parametrize("data", [b"", bytes(511), bytes(512), b"\xeb\x58\x90MSWIN4.1" + bytes(501)])
def test_what_is_not_bitlocker_is_said_to_be_not_activated(data: bytes) -> None:
    assert not is_bitlocker(BytesSource(data))
    with pytest.raises(BitLockerNotActivated):
        read_metadata(BytesSource(data))


def test_a_truncated_image_is_refused_with_both_numbers() -> None:
    source = BytesSource(IMAGE[: CASE.size_bytes - 512])
    with pytest.raises(DiskOperationFailed, match=r"has 655360 bytes, .* ends after 654848"):
        unlock(source, read_metadata(source), ClearKey())


WIPED = bytes(512) + IMAGE[512:]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (BytesSource(WIPED), COPIES[0]),
        (BadSectors(IMAGE, 0), COPIES[0]),
        (BadSectors(IMAGE, 0, COPIES[0] + 8192), COPIES[1]),
        (BadSectors(IMAGE, 0, *COPIES), None),
        (BytesSource(with_copies(WIPED, bytes(BLOCK_BYTES), spoiled(BLOCK, 200), None)), COPIES[2]),
        (BytesSource(WIPED[: COPIES[0] + 4096]), None),
        (BytesSource(IMAGE[1024:]), None),
        (BytesSource(bytes(700_000)), None),
        (BytesSource(b""), None),
    ],
    ids=[
        "wiped",
        "unreadable",
        "first copy unreadable",
        "all unreadable",
        "one sound copy",
        "cut off",
        "of another place",
        "zeros",
        "empty",
    ],
)
def test_a_lost_boot_sector_is_told_from_the_metadata_that_is_left(
    source: BlockSource, place: int | None
) -> None:
    if place is None:
        check_boot_sector_not_lost(source)
        return
    message = f"looks like a BitLocker volume whose first sector is damaged: .* at byte {place},"
    with pytest.raises(BitLockerFailed, match=message):
        check_boot_sector_not_lost(source)


def test_a_volume_full_of_signatures_does_not_hold_up_the_search() -> None:
    sector = b"-FVE-FS-".ljust(512, b"\0")
    looked_at: list[int] = []

    class Counting(BytesSource):
        def read_into(self, offset: int, buffer: memoryview) -> None:
            looked_at.append(offset)
            super().read_into(offset, buffer)

    check_boot_sector_not_lost(Counting(sector * 4096))
    assert len(looked_at) <= 1000 + 2048


def test_a_drive_that_cannot_be_read_at_all_is_not_searched_to_the_end() -> None:
    tried: list[int] = []

    class Dead(BytesSource):
        def read_into(self, offset: int, buffer: memoryview) -> None:
            tried.append(offset)
            raise UnreadableSectors(offset, len(buffer))

    check_boot_sector_not_lost(Dead(bytes(4 * 1024 * 1024)))
    assert len(tried) == 16


def test_no_kind_of_key_for_the_volume_names_what_there_is() -> None:
    copies: Sequence[bytes] = [forged(BLOCK, STARTUP_PROTECTOR_AT, struct.pack("<H", 0x0100))] * 3
    source = BytesSource(with_copies(IMAGE, *copies))
    with pytest.raises(BitLockerProtectorNotFound, match=f"has no startup key .*TPM {STARTUP_GUID}"):
        unlock(source, read_metadata(source), StartupKey.from_bytes(bek_file(CASE.startup)))
