"""Volumes made in memory: regions, keys, refusals, damage."""

from __future__ import annotations

import pickle
import random
import struct
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import (
    BitLockerFailed,
    BitLockerKeyInvalid,
    BitLockerNotActivated,
    BitLockerProtectorNotFound,
    DiskOperationFailed,
    IngestError,
)
from agent.model.keys import ClearKey, Password, RecoveryPassword, StartupKey
from agent.model.secrets import Secret
from agent.volume.bitlocker import DecryptedVolume, ProtectorKind, is_bitlocker, read_metadata, unlock
from agent.volume.bitlocker.keys import Key
from agent.volume.bitlocker.stretch import password_seed, stretch
from agent.volume.block import BytesSource, read
from tests.unit.bitlocker_cases import (
    BLOCK_BYTES,
    COPIES,
    EOW_GUID,
    MOVED_HEADER,
    STARTUP_GUID,
    Case,
    bek_file,
    protector,
    seal,
    wrapped,
)

CASE = Case(tail_bytes=5000)
IMAGE = bytes(CASE.build())
EXPECTED = CASE.expected()


def opened(image: bytes) -> DecryptedVolume:
    source = BytesSource(bytes(image))
    return unlock(source, read_metadata(source), ClearKey())


VOLUME = opened(IMAGE)


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("method", [0x8002, 0x8003, 0x8004, 0x8005])
def test_a_whole_volume_reads_as_it_was_before_encryption(method: int, sector_size: int) -> None:
    case = Case(method=method, sector_size=sector_size)
    volume = opened(case.build())
    assert volume.sector_size == sector_size
    assert read(volume, 0, volume.size_bytes) == case.expected()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_offset_and_length_reads_the_same_bytes_as_the_whole(data: st.DataObject) -> None:
    corners = (
        0,
        8192,
        COPIES[0],
        COPIES[1] + BLOCK_BYTES,
        MOVED_HEADER,
        MOVED_HEADER + 8192,
        CASE.size_bytes,
    )
    near = st.builds(
        lambda corner, by: max(0, corner + by), st.sampled_from(corners), st.integers(-1500, 1500)
    )
    offset = data.draw(st.one_of(near, st.integers(0, len(EXPECTED))))
    offset = min(offset, len(EXPECTED))
    length = data.draw(st.integers(0, min(3000, len(EXPECTED) - offset)))
    assert read(VOLUME, offset, length) == EXPECTED[offset : offset + length]


def test_a_read_past_the_end_is_refused_with_numbers() -> None:
    with pytest.raises(DiskOperationFailed, match="ends at 660360"):
        VOLUME.read_into(660000, memoryview(bytearray(512)))


def test_metadata_tells_what_the_volume_is() -> None:
    metadata = read_metadata(BytesSource(IMAGE))
    assert metadata.cipher_name == "AES-XTS-128"
    assert (metadata.description, metadata.state) == ("TEST drive", "encrypted")
    assert (metadata.encrypted_size_bytes, metadata.sector_size) == (CASE.size_bytes, 512)
    assert [(p.kind, p.guid) for p in metadata.protectors] == [
        (ProtectorKind.CLEAR_KEY, UUID(int=5)),
        (ProtectorKind.STARTUP_KEY, STARTUP_GUID),
    ]
    assert (metadata.copy_used, metadata.copy_problems) == (1, ())


def test_nothing_that_is_printed_holds_a_key() -> None:
    metadata = read_metadata(BytesSource(IMAGE))
    shown = repr(metadata) + repr(VOLUME) + repr(metadata.protectors) + repr(metadata.block.entries)
    for key in (CASE.vmk, CASE.fvek, CASE.clear, CASE.startup):
        assert key.hex()[:12] not in shown
        assert repr(key)[2:14] not in shown
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Key(CASE.vmk, 1))


def test_a_startup_key_opens_and_one_of_another_volume_does_not() -> None:
    source = BytesSource(IMAGE)
    metadata = read_metadata(source)
    volume = unlock(source, metadata, StartupKey.from_bytes(bek_file(CASE.startup)))
    assert read(volume, 0, 20000) == EXPECTED[:20000]
    with pytest.raises(BitLockerKeyInvalid, match=f"opens none of the 1 startup key .*{STARTUP_GUID}"):
        unlock(source, metadata, StartupKey.from_bytes(bek_file(bytes(32))))


def test_every_protector_of_the_kind_is_tried() -> None:
    rng = random.Random(3)
    second = rng.randbytes(32)
    more = protector(0x0200, UUID(int=9), wrapped(rng, second, CASE.vmk, 0x2003))
    source = BytesSource(bytes(Case(extra_protectors=more).build()))
    volume = unlock(source, read_metadata(source), StartupKey.from_bytes(bek_file(second)))
    assert read(volume, 0, 8192) == CASE.plain[:8192]


def test_a_password_opens_through_the_stretch_and_a_wrong_one_does_not() -> None:
    rng = random.Random(4)
    salt, password = rng.randbytes(16), "Grüße \ud800 £"
    key = stretch(password_seed(password), salt)
    salted = struct.pack("<HHHHI", 28, 0, 3, 1, 0x1000) + salt
    more = protector(0x2000, UUID(int=8), salted, wrapped(rng, key, CASE.vmk, 0x2003))
    source = BytesSource(bytes(Case(extra_protectors=more).build()))
    metadata = read_metadata(source)
    assert read(unlock(source, metadata, Password(Secret(password))), 0, 512) == CASE.plain[:512]
    with pytest.raises(BitLockerKeyInvalid, match="password") as caught:
        unlock(source, metadata, Password(Secret("hunter2-hunter2")))
    assert "hunter2" not in caught.value.line()


def test_the_stretch_agrees_with_an_independent_rendering_of_the_first_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.volume.bitlocker.stretch.ROUNDS", 3)
    seed, salt, last = bytes(range(32)), bytes(range(16)), bytes(32)
    for count in range(3):
        last = sha256(struct.pack("<32s32s16sQ", last, seed, salt, count)).digest()
    assert stretch(seed, salt) == last


def test_a_kind_of_key_without_a_protector_names_the_kinds_that_there_are() -> None:
    source = BytesSource(IMAGE)
    recovery = RecoveryPassword.parse("-".join(["000011"] * 8))
    with pytest.raises(
        BitLockerProtectorNotFound, match="no recovery password protector; it has clear key, startup key"
    ):
        unlock(source, read_metadata(source), recovery)


@pytest.mark.parametrize("damage", ["empty", "short", "no key", "entry too long"])
def test_a_malformed_startup_key_file_is_an_invalid_key(damage: str) -> None:
    whole = bek_file(CASE.startup)
    data = {
        "empty": b"",
        "short": whole[:60],
        "no key": struct.pack("<I", 48) + whole[4:48],
        "entry too long": whole[:48] + b"\xff\xff" + whole[50:],
    }[damage]
    source = BytesSource(IMAGE)
    with pytest.raises(BitLockerKeyInvalid, match="startup key file"):
        unlock(source, read_metadata(source), StartupKey.from_bytes(data))


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


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case(guid=EOW_GUID), "encryption not finished: .*encrypt-on-write"),
        (Case(states=(2, 4)), "encryption not finished: .*state 2, going to 4"),
        (Case(states=(4, 1)), "encryption not finished: .*state 4, going to 1"),
        (Case(states=(3, 3)), "encryption not finished: .*conversion paused"),
        (Case(method=0x8006), "unknown cipher 0x8006"),
        (Case(fvek_method=0x8002), "volume key is for cipher 0x8002, the metadata says 0x8004"),
        (Case(proof=lambda raw: sha256(raw + b"!").digest()), "copy 1 was changed without the volume's key"),
    ],
)
def test_a_volume_that_cannot_be_read_rightly_is_refused(case: Case, message: str) -> None:
    with pytest.raises(BitLockerFailed, match=message):
        opened(case.build())


def test_metadata_without_proof_of_authenticity_is_refused() -> None:
    image = bytearray(IMAGE)
    size = struct.unpack_from("<H", image, COPIES[0] + 8)[0] * 16
    for copy in COPIES:
        struct.pack_into("<H", image, copy + size + 2, 1)
    with pytest.raises(BitLockerFailed, match="no proof of authenticity"):
        opened(bytes(image))


def test_a_vista_volume_is_refused_by_name() -> None:
    image = b"\xeb\x52\x90" + IMAGE[3:]
    assert is_bitlocker(BytesSource(image))
    with pytest.raises(BitLockerFailed, match="Vista"):
        read_metadata(BytesSource(image))


@pytest.mark.parametrize(
    ("at", "new", "message"),
    [
        (11, b"\x01\x02", "sector size of 513"),
        (160, bytes(16), "unknown BitLocker format"),
        (176, b"\xff" * 24, "all three metadata copies"),
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


def test_a_drive_with_a_thousand_protectors_is_not_tried_for_hours() -> None:
    many = b"".join(protector(0x2000, UUID(int=100 + n)) for n in range(100))
    with pytest.raises(BitLockerFailed, match="102 protectors"):
        opened(Case(extra_protectors=many).build())


def mutated(rng: random.Random, *, sealed: bool) -> bytes:
    """The image with a few bytes of all its metadata copies changed, if ``sealed`` with a right CRC."""
    image = bytearray(IMAGE)
    block = bytearray(IMAGE[COPIES[0] : COPIES[0] + BLOCK_BYTES])
    size = struct.unpack_from("<H", block, 8)[0] * 16
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(size if sealed else size + 100)
        if not (sealed and 8 <= at < 12):
            block[at] = rng.choice((0, 0xFF, rng.randrange(256), block[at] ^ 1 << rng.randrange(8)))
    if sealed:
        block = bytearray(seal(bytes(block[:size]), rng, CASE.vmk))
    for copy in COPIES:
        image[copy : copy + BLOCK_BYTES] = block
    if rng.random() < 0.2:
        image[rng.randrange(512)] ^= 1 << rng.randrange(8)
    return bytes(image)


@pytest.mark.parametrize("sealed", [False, True])
def test_damaged_metadata_raises_only_errors_of_the_tree(sealed: bool) -> None:
    """Sealed mutations get past the check sum and the proof, and reach every parser behind them."""
    rng = random.Random(20_000 + sealed)
    refused: list[str] = []
    for _ in range(400):
        source = BytesSource(mutated(rng, sealed=sealed))
        try:
            volume = unlock(source, read_metadata(source), ClearKey())
            read(volume, 0, volume.size_bytes)
        except IngestError as error:
            refused.append(error.line())
    assert len(refused) > 100
    assert not [line for line in refused if "\n" in line or len(line) > 1000]
