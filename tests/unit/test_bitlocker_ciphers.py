"""Every sector cipher against one that goes sector by sector."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import BitLockerFailed
from agent.volume.bitlocker.ciphers import SUITES, cipher_name, make_cipher
from agent.volume.bitlocker.keys import Key
from tests.unit.bitlocker_cases import KEY_BYTES, encrypt_sectors

METHODS = sorted(SUITES)
FAST_METHODS = [0x8002, 0x8003, 0x8004, 0x8005]


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
@pytest.mark.parametrize("method", FAST_METHODS)
def test_runs_longer_than_a_window_and_across_sector_number_2_to_the_32_are_exact(
    method: int, sector_size: int
) -> None:
    rng = random.Random(method)
    key, plain = rng.randbytes(KEY_BYTES[method]), rng.randbytes(1024 * 1024 + 3 * sector_size)
    offset = (2**32 - 700) * sector_size
    cipher = make_cipher(Key(key, method), sector_size)
    for _ in range(2):
        buffer = bytearray(encrypt_sectors(method, key, sector_size, offset, plain))
        cipher.decrypt(offset, memoryview(buffer))
        assert buffer == plain


@pytest.mark.parametrize("method", [0x8000, 0x8001])
def test_an_elephant_window_and_a_bit_is_exact_at_its_edges(method: int) -> None:
    rng = random.Random(method)
    key, window = rng.randbytes(64), 1024 * 1024
    cipher = make_cipher(Key(key, method), 512)
    buffer = bytearray(rng.randbytes(window + 1024))
    edges = [0, window - 512, window, window + 512]
    plain = {at: rng.randbytes(512) for at in edges}
    for at in edges:
        buffer[at : at + 512] = encrypt_sectors(method, key, 512, at, plain[at])
    cipher.decrypt(0, memoryview(buffer))
    assert {at: bytes(buffer[at : at + 512]) for at in edges} == plain


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
