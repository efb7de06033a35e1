"""Every sector cipher against ones that go sector by sector: the textbook, and that of the fixtures."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import BitLockerFailed
from agent.volume.bitlocker.ciphers import SUITES, cipher_name, make_cipher
from agent.volume.bitlocker.keys import Key
from fixtures.fve_ciphers import Cipher
from fixtures.fve_ciphers import encrypt_sectors as encrypt
from tests.unit.bitlocker_cases import KEY_BYTES, encrypt_sectors

METHODS = sorted(SUITES)
CIPHERS = {cipher.code: cipher for cipher in Cipher}


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_run_of_sectors_at_any_place_decrypts_to_what_was_encrypted(
    method: int, sector_size: int, data: st.DataObject
) -> None:
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    number = data.draw(
        st.one_of(st.integers(0, 100), st.integers(2**32 - 5, 2**32 + 5), st.integers(0, 2**40))
    )
    sectors = data.draw(st.integers(1, 6))
    key, plain = rng.randbytes(KEY_BYTES[method]), rng.randbytes(sectors * sector_size)
    buffer = bytearray(encrypt_sectors(method, key, sector_size, number * sector_size, plain))
    make_cipher(Key(key, method), sector_size).decrypt(number * sector_size, memoryview(buffer))
    assert bytes(buffer) == plain


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("method", METHODS)
def test_runs_longer_than_a_window_and_across_sector_number_2_to_the_32_are_exact(
    method: int, sector_size: int
) -> None:
    """Short and long ones in turn, for they share scratch memory."""
    rng = random.Random(method)
    key, plain = rng.randbytes(KEY_BYTES[method]), rng.randbytes(1024 * 1024 + 3 * sector_size)
    offset = (2**32 - 200) * sector_size
    encrypted = encrypt(CIPHERS[method], key, sector_size, offset, plain)
    cipher = make_cipher(Key(key, method), sector_size)
    for sectors in (1, 17, len(plain) // sector_size, 3, 250, 64, 129):
        start = rng.randrange(len(plain) // sector_size - sectors + 1) * sector_size
        end = start + sectors * sector_size
        buffer = bytearray(encrypted[start:end])
        cipher.decrypt(offset + start, memoryview(buffer))
        assert buffer == plain[start:end]


@pytest.mark.parametrize("method", METHODS)
def test_threads_share_a_cipher_without_disturbing_each_other(method: int) -> None:
    rng = random.Random(1)
    key = rng.randbytes(KEY_BYTES[method])
    cipher = make_cipher(Key(key, method), 512)
    parts = [rng.randbytes(64 * 512) for _ in range(8)]

    def decrypt(index: int) -> bytes:
        buffer = bytearray(encrypt_sectors(method, key, 512, index * 32768, parts[index]))
        for _ in range(1 + index % 2 * 2):
            again = bytearray(buffer)
            cipher.decrypt(index * 32768, memoryview(again))
        return bytes(again)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(decrypt, range(8))) == parts


@pytest.mark.parametrize("method", METHODS)
def test_no_cipher_prints_its_key(method: int) -> None:
    key = bytes(range(KEY_BYTES[method]))
    shown = repr(make_cipher(Key(key, method), 512)) + repr(Key(key, method)) + f"{Key(key, method)}"
    assert key.hex()[:16] not in shown
    assert repr(key)[2:20] not in shown


def test_a_key_that_is_too_short_and_an_unknown_cipher_are_refused() -> None:
    with pytest.raises(BitLockerFailed, match="AES-XTS-256 needs a key of 64 bytes, the volume has 32"):
        make_cipher(Key(bytes(32), 0x8005), 512)
    with pytest.raises(BitLockerFailed, match="unknown cipher 0x8123"):
        make_cipher(Key(bytes(64), 0x8123), 512)
    assert cipher_name(0x8004) == "AES-XTS-128"
