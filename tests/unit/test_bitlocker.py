"""Volumes made in memory: what is read where, and which keys open them."""

from __future__ import annotations

import pickle
import random
import struct
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import BitLockerKeyInvalid, BitLockerProtectorNotFound, DiskOperationFailed
from agent.model.keys import ClearKey, Password, RecoveryPassword, StartupKey
from agent.model.secrets import Secret
from agent.volume.bitlocker import DecryptedVolume, ProtectorKind, is_bitlocker, read_metadata, unlock
from agent.volume.bitlocker.keys import Key
from agent.volume.bitlocker.stretch import password_seed, stretch
from agent.volume.block import BytesSource, read
from tests.unit.bitlocker_cases import (
    BLOCK_BYTES,
    COPIES,
    MOVED_HEADER,
    STARTUP_GUID,
    Case,
    bek_file,
    entry,
    protector,
    wrapped,
)

CASE = Case(tail_bytes=5000)
IMAGE = bytes(CASE.build())
EXPECTED = CASE.expected()

TEXT = entry(0, 2, "ExternalKey\0".encode("utf-16-le"))
VOLUME_GUID = entry(0x19, 0x17, UUID(int=77).bytes_le)
UNKNOWN = b"".join(entry(0x33, kind, bytes(range(kind))) for kind in (0x15, 0x17, 0x18, 0x7F))


def opened(image: bytes | bytearray) -> DecryptedVolume:
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


@pytest.mark.parametrize("sector_size", [512, 4096])
def test_a_to_go_drive_with_its_long_moved_start_reads_whole(sector_size: int) -> None:
    case = Case(to_go=True, header_bytes=BLOCK_BYTES, sector_size=sector_size)
    image = bytes(case.build())
    assert is_bitlocker(BytesSource(image))
    metadata = read_metadata(BytesSource(image))
    assert (metadata.to_go, metadata.header_bytes) == (True, BLOCK_BYTES)
    assert read(opened(image), 0, case.size_bytes) == case.expected()


def test_of_a_drive_whose_free_space_was_never_encrypted_all_used_space_reads_right() -> None:
    free = ((200704, 262144), (600064, 650240))
    case = Case(free=free)
    found, expected = read(opened(case.build()), 0, case.size_bytes), case.expected()
    start = 0
    for gap, end in (*free, (case.size_bytes, case.size_bytes)):
        assert found[start:gap] == expected[start:gap]
        start = end


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
    assert VOLUME.metadata == metadata


def test_nothing_that_is_printed_holds_a_key() -> None:
    metadata = read_metadata(BytesSource(IMAGE))
    shown = repr(metadata) + repr(VOLUME) + repr(metadata.protectors) + repr(metadata.block.entries)
    for key in (CASE.vmk, CASE.fvek, CASE.clear, CASE.startup):
        assert key.hex()[:12] not in shown
        assert repr(key)[2:14] not in shown
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Key(CASE.vmk, 1))


@pytest.mark.parametrize("before", [b"", TEXT, TEXT + VOLUME_GUID, TEXT + UNKNOWN + VOLUME_GUID])
def test_startup_keys_of_every_windows_open(before: bytes) -> None:
    source = BytesSource(IMAGE)
    key = StartupKey.from_bytes(bek_file(CASE.startup, before=before))
    assert read(unlock(source, read_metadata(source), key), 0, 20000) == EXPECTED[:20000]


def test_a_startup_key_of_another_volume_opens_nothing() -> None:
    source = BytesSource(IMAGE)
    with pytest.raises(BitLockerKeyInvalid, match=f"opens none of the 1 startup key .*{STARTUP_GUID}"):
        unlock(source, read_metadata(source), StartupKey.from_bytes(bek_file(bytes(32))))


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


def test_every_startup_key_protector_is_tried_and_what_is_unknown_is_skipped() -> None:
    rng = random.Random(3)
    second = rng.randbytes(32)
    more = UNKNOWN + protector(0x0200, UUID(int=9), UNKNOWN, wrapped(rng, second, CASE.vmk, 0x2003), UNKNOWN)
    source = BytesSource(bytes(Case(extra_protectors=more).build()))
    volume = unlock(source, read_metadata(source), StartupKey.from_bytes(bek_file(second)))
    assert read(volume, 0, 8192) == CASE.plain[:8192]


@pytest.fixture
def quick_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rounds instead of a million; one test below and the real volumes go the whole way."""
    monkeypatch.setattr("agent.volume.bitlocker.stretch.ROUNDS", 3)


def stretched(seed: bytes, salt: bytes, rounds: int = 3) -> bytes:
    last = bytes(32)
    for count in range(rounds):
        last = sha256(struct.pack("<32s32s16sQ", last, seed, salt, count)).digest()
    return last


def salted_protector(rng: random.Random, code: int, seed: bytes, vmk: bytes, number: int) -> bytes:
    salt = rng.randbytes(16)
    nested = struct.pack("<HHHHI", 28, 0, 3, 1, 0x1000) + salt
    return protector(code, UUID(int=number), nested, wrapped(rng, stretched(seed, salt), vmk, 0x2003))


@pytest.mark.usefixtures("quick_stretch")
def test_the_stretch_agrees_with_an_independent_rendering_of_the_first_rounds() -> None:
    seed, salt = bytes(range(32)), bytes(range(16))
    assert stretch(seed, salt) == stretched(seed, salt)


def test_a_password_opens_through_the_whole_stretch_and_a_wrong_one_does_not() -> None:
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


PASSWORDS = [
    "anaconda",
    "anaconda£",
    "pässwörd",
    "pa\u0308ssword",
    "密码パスワード",
    "пароль",
    "🔑 🗝️",
    "\udc80lone",
    "a\0b",
    "  blanks  ",
    "x" * 256,
]


@pytest.mark.usefixtures("quick_stretch")
@pytest.mark.parametrize("text", PASSWORDS)
def test_any_unicode_password_opens_its_protector_and_no_other(text: str) -> None:
    rng = random.Random(5)
    seed = sha256(sha256(text.encode("utf-16-le", "surrogatepass")).digest()).digest()
    other = salted_protector(rng, 0x2000, bytes(32), rng.randbytes(32), 8)
    more = other + salted_protector(rng, 0x2000, seed, CASE.vmk, 9)
    source = BytesSource(bytes(Case(extra_protectors=more).build()))
    metadata = read_metadata(source)
    assert read(unlock(source, metadata, Password(Secret(text))), 0, 512) == CASE.plain[:512]
    for wrong in PASSWORDS:
        if wrong != text:
            with pytest.raises(BitLockerKeyInvalid, match="none of the 2 password protectors"):
                unlock(source, metadata, Password(Secret(wrong)))


@pytest.mark.usefixtures("quick_stretch")
def test_the_third_of_three_recovery_passwords_opens() -> None:
    rng, numbers = random.Random(6), (1, 2, 3, 65535, 5, 6, 7, 0)
    seeds = [bytes(32), bytes(range(32)), sha256(struct.pack("<8H", *numbers)).digest()]
    vmks = [rng.randbytes(32), rng.randbytes(32), CASE.vmk]
    more = b"".join(
        salted_protector(rng, 0x0800, seed, vmk, 10 + n)
        for n, (seed, vmk) in enumerate(zip(seeds, vmks, strict=True))
    )
    source = BytesSource(bytes(Case(extra_protectors=more).build()))
    recovery = RecoveryPassword.parse("-".join(f"{number * 11:06}" for number in numbers))
    assert read(unlock(source, read_metadata(source), recovery), 0, 512) == CASE.plain[:512]


@pytest.mark.usefixtures("quick_stretch")
def test_a_drive_with_hundreds_of_protectors_is_not_tried_for_hours() -> None:
    rng = random.Random(7)
    many = b"".join(salted_protector(rng, 0x2000, bytes(32), CASE.vmk, 100 + n) for n in range(300))
    source = BytesSource(bytes(Case(extra_protectors=many).build()))
    metadata = read_metadata(source)
    assert len(metadata.protectors) == 302
    with pytest.raises(BitLockerKeyInvalid, match="none of the first 100 password protectors"):
        unlock(source, metadata, Password(Secret("wrong")))
    assert read(unlock(source, metadata, ClearKey()), 0, 512) == CASE.plain[:512]


def test_a_kind_of_key_without_a_protector_names_the_protectors_that_there_are() -> None:
    source = BytesSource(IMAGE)
    recovery = RecoveryPassword.parse("-".join(["000011"] * 8))
    there = rf"clear key {UUID(int=5)}, startup key {STARTUP_GUID}$"
    with pytest.raises(BitLockerProtectorNotFound, match=f"no recovery password protector; it has {there}"):
        unlock(source, read_metadata(source), recovery)


@pytest.mark.parametrize(
    ("code", "name"),
    [(0x0100, "TPM"), (0x0500, "TPM and PIN"), (0x1000, "smart card"), (0x0700, "unknown")],
)
def test_a_volume_that_only_a_machine_or_a_card_opens_is_refused_by_name(code: int, name: str) -> None:
    locked = Case(clear_key=False, startup_key=False, extra_protectors=protector(code, UUID(int=6)))
    source = BytesSource(bytes(locked.build()))
    for credential in (Password(Secret("x")), ClearKey(), StartupKey.from_bytes(bek_file(CASE.startup))):
        with pytest.raises(BitLockerProtectorNotFound, match=f"it has {name} {UUID(int=6)}, and no key"):
            unlock(source, read_metadata(source), credential)


def test_a_volume_without_any_protector_says_so() -> None:
    source = BytesSource(bytes(Case(clear_key=False, startup_key=False).build()))
    with pytest.raises(BitLockerProtectorNotFound, match="has no protector at all"):
        unlock(source, read_metadata(source), ClearKey())
