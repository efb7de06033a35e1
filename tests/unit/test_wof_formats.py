"""XPRESS Huffman and LZX: what they unpack, and that nothing else than damage comes of anything else."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import NtfsDamaged
from agent.volume.block import BytesSource
from agent.volume.ntfs import NtfsVolume, StreamKind
from agent.volume.ntfs.wof import lzx, xpress
from agent.volume.ntfs.wof.huffman import decoding_table
from fixtures.images import base_image
from fixtures.recipe import SEED
from fixtures.wof_tree import program
from tests.kit import packing
from tests.kit.packing import Lzx

Unpack = Callable[[bytes, int], bytearray]


def _repetitive() -> st.SearchStrategy[bytes]:
    words = st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=6)
    return words.flatmap(lambda pool: st.lists(st.sampled_from(pool), max_size=600).map(b"".join))


class TestXpress:
    def test_the_example_of_the_specification(self) -> None:
        """[MS-XCA] section 3.2, the second one: 100 times "abc"."""
        head = bytearray(256)
        head[0x30], head[0x31], head[0x80], head[0x8F] = 0x30, 0x23, 0x02, 0x20
        assert xpress.unpack(bytes(head) + bytes.fromhex("a8dc0000ff2601"), 300) == b"abc" * 100

    @given(_repetitive(), st.integers(1, 65535))
    @settings(max_examples=60, deadline=None)
    def test_what_was_packed_comes_back(self, data: bytes, farthest: int) -> None:
        items = list(packing.items_of(data, farthest))
        assert xpress.unpack(packing.xpress(items), len(data)) == data

    @pytest.mark.parametrize("length", [3, 17, 18, 19, 272, 273, 274, 300, 65535])
    def test_every_way_of_telling_a_length(self, length: int) -> None:
        items: list[packing.Item] = [*b"seed", (length, 3), *b"end"]
        data = packing.expand(items)
        assert xpress.unpack(packing.xpress(items), len(data)) == data

    @pytest.mark.parametrize("distance", [1 << bits for bits in range(16)] + [65535])
    def test_every_size_of_a_distance(self, distance: int) -> None:
        items: list[packing.Item] = [*random.Random(distance).randbytes(distance), (3, distance), 7]
        data = packing.expand(items)
        # Larger than any chunk of WOF, as the format allows up to 64 KiB.
        assert xpress.unpack(packing.xpress(items), len(data)) == data

    @pytest.mark.parametrize(
        ("items", "size", "said"),
        [
            ([65, (3, 2)], 4, "3 bytes points 2 back at 1 of 4"),
            ([(3, 1)], 3, "3 bytes points 1 back at 0"),
            ([65, (9, 1)], 9, "9 bytes points 1 back at 1 of 9"),
            ([65] * 40, 300, "end before its 300 bytes"),
        ],
    )
    def test_impossible_matches_and_ends_are_damage(
        self, items: list[packing.Item], size: int, said: str
    ) -> None:
        with pytest.raises(NtfsDamaged, match=said):
            xpress.unpack(packing.xpress(items), size)

    def test_a_length_word_below_what_it_would_replace_is_damage(self) -> None:
        chunk = packing.xpress([65, (300, 1)])
        place = chunk.index(b"\xff" + struct.pack("<H", 297))
        for word in (0, 14):
            broken = chunk[:place] + b"\xff" + struct.pack("<H", word) + chunk[place + 3 :]
            with pytest.raises(NtfsDamaged, match=f"length word of {word}"):
                xpress.unpack(broken, 301)

    def test_every_cut_short_chunk_is_damage(self) -> None:
        items = list(packing.items_of(b"cut me short, cut me short, " * 30, 4096))
        chunk = packing.xpress(items)
        size = len(packing.expand(items))
        # The last two words may hold no more than the symbol that ends the chunk.
        for keep in range(len(chunk) - 4):
            with pytest.raises(NtfsDamaged):
                xpress.unpack(chunk[:keep], size)

    @pytest.mark.parametrize(
        ("lengths", "said"),
        [
            ([0] * 512, "is empty"),
            ([1] * 3 + [0] * 509, "uses 3 of 2 bit patterns"),
            ([1] + [0] * 511, "uses 1 of 2 bit patterns"),
            ([15] * 512, "uses 512 of 32768 bit patterns"),
            ([1] * 512, "uses 512 of 2 bit patterns"),
        ],
    )
    def test_codes_that_contradict_themselves_are_damage(self, lengths: list[int], said: str) -> None:
        head = bytes(low | high << 4 for low, high in zip(lengths[::2], lengths[1::2], strict=True))
        with pytest.raises(NtfsDamaged, match=said):
            xpress.unpack(head + bytes(100), 4096)


class TestLzx:
    @given(_repetitive(), st.booleans())
    @settings(max_examples=40, deadline=None)
    def test_what_was_packed_comes_back(self, data: bytes, aligned: bool) -> None:
        data = data.replace(b"\xe8", b"e")
        chunk = Lzx()
        if data:
            chunk.block(list(packing.items_of(data, 32765, 257)), aligned=aligned)
        assert lzx.unpack(chunk.end(), len(data)) == data

    @pytest.mark.parametrize("aligned", [False, True])
    @pytest.mark.parametrize("distance", [1, 2, 3, 6, 7, 30, 31, 510, 4094, 24573, 24574, 32700])
    def test_every_kind_of_distance(self, distance: int, aligned: bool) -> None:
        start = random.Random(distance).randbytes(distance).replace(b"\xe8", b"e")
        items: list[packing.Item] = [*start, (2, distance), (3, max(1, distance - 1)), 9]
        data = packing.expand(items)
        chunk = Lzx()
        chunk.block(items, aligned=aligned)
        assert lzx.unpack(chunk.end(), len(data)) == data

    @pytest.mark.parametrize("length", [2, 8, 9, 10, 256, 257])
    def test_every_kind_of_length(self, length: int) -> None:
        items: list[packing.Item] = [*b"seeds", (length, 4), 1]
        data = packing.expand(items)
        chunk = Lzx()
        chunk.block(items)
        assert lzx.unpack(chunk.end(), len(data)) == data

    def test_recent_distances_are_kept_in_order_from_block_to_block(self) -> None:
        chunk = Lzx()
        chunk.plain(b"abcdefgh", recent=(2, 3, 5))
        items = ["R0:2", "R1:2", "R1:2", "R2:2", "R0:2", (3, 7), "R2:2"]
        chunk.block(items, size=15)
        chunk.block(["R0:2", 33, "R1:2"], size=5, aligned=True)
        # 2 3 5 -> 2; 3 2 5; 2 3 5; 5 3 2; 5; 7 5 3; 3 5 7; next block: 3; 5 3 7.
        distances = [2, 3, 2, 5, 5, 7, 3, 3, None, 5]
        expected: list[packing.Item] = [*b"abcdefgh"]
        for distance, count in zip(distances, [2, 2, 2, 2, 2, 3, 2, 2, 0, 2], strict=True):
            expected.append(33 if distance is None else (count, distance))
        assert lzx.unpack(chunk.end(), 28) == packing.expand(expected)

    def test_uncompressed_blocks_odd_and_even_between_others(self) -> None:
        chunk = Lzx()
        chunk.block([*b"start"])
        chunk.plain(b"odd", recent=(1, 1, 1))
        chunk.plain(b"even")
        chunk.block([(4, 4), *b"end"])
        assert lzx.unpack(chunk.end(), 19) == b"startoddeveneven" + b"end"

    def test_an_uncompressed_block_that_begins_on_a_word_still_skips_one(self) -> None:
        # The head of an uncompressed block takes 20 bits.
        fill = next(n for n in range(1, 200) if _bits_after([*b"q" * n]) % 16 == 12)
        chunk = Lzx()
        chunk.block([*b"q" * fill])
        chunk.plain(b"data")
        assert lzx.unpack(chunk.end(), fill + 4) == b"q" * fill + b"data"

    def test_the_pad_of_a_last_odd_block_may_be_missing(self) -> None:
        chunk = Lzx()
        chunk.plain(b"seven!!", padded=False)
        packed = chunk.end()
        assert len(packed) % 2
        assert lzx.unpack(packed, 7) == b"seven!!"
        with pytest.raises(NtfsDamaged, match="end before"):
            lzx.unpack(packed[:-1], 7)

    def test_calls_are_translated_but_in_the_last_ten_bytes(self) -> None:
        chunk, call = Lzx(), b"\xe8" + struct.pack("<i", 1000)
        data = call * 8
        chunk.plain(data)
        unpacked = lzx.unpack(chunk.end(), len(data))
        targets = [struct.unpack("<i", unpacked[at + 1 : at + 5])[0] for at in range(0, len(data), 5)]
        assert targets == [1000 - at for at in range(0, 30, 5)] + [1000, 1000]

    @pytest.mark.parametrize(
        ("stored", "translated"),
        [
            (0, -50),
            (50, 0),
            (11_999_999, 11_999_949),
            (12_000_000, 12_000_000),
            (-1, 11_999_999),
            (-50, 11_999_950),
            (-51, -51),
        ],
    )
    def test_only_targets_within_the_file_are_translated(self, stored: int, translated: int) -> None:
        data = bytearray(bytes(50) + b"\xe8" + struct.pack("<i", stored) + bytes(20))
        lzx.undo_e8(data)
        assert data == bytes(50) + b"\xe8" + struct.pack("<i", translated) + bytes(20)

    @pytest.mark.parametrize("size", range(12))
    def test_chunks_too_small_for_a_call_are_left_alone(self, size: int) -> None:
        data = bytearray(b"\xe8" * size)
        lzx.undo_e8(data)
        assert data == b"\xe8" * size if size <= 10 else data[5:] == b"\xe8" * (size - 5)

    def test_a_run_of_code_lengths_may_go_on_past_the_last(self) -> None:
        """Of the length code, whose 249 lengths are told as 7 runs of 20 and more."""
        chunk = Lzx()
        chunk.head(1, 3)
        chunk.lengths("main", packing.FLAT_MAIN, 0, 256)
        chunk.lengths("main", packing.FLAT_MAIN, 256, 496)
        for length in packing.FLAT_PRETREE:
            chunk.put(length, 4)
        pretree = packing.codes(packing.FLAT_PRETREE)
        for _ in range(5):
            chunk.put(*pretree[18])
            chunk.put(31, 5)
        main = packing.codes(packing.FLAT_MAIN)
        for byte in b"abc":
            chunk.put(*main[byte])
        assert lzx.unpack(chunk.end(), 3) == b"abc"

    @pytest.mark.parametrize(
        ("make", "size", "said"),
        [
            (lambda c: c.block([65, (2, 3)]), 3, "2 bytes points 3 back at 1 of 3"),
            (lambda c: c.block([65, (9, 1)], size=5), 5, "9 bytes points 1 back at 1 of 5"),
            (lambda c: (c.plain(b"ab", recent=(0, 1, 1)), c.block(["R0:2"], size=2)), 4, "0 back at 2"),
            (lambda c: (c.plain(b"ab", recent=(1, 2**32 - 1, 1)), c.block(["R1:2"], size=2)), 4, "back at 2"),
            (lambda c: c.head(0, 9), 9, "unknown kind 0"),
            (lambda c: c.head(7, 9), 9, "unknown kind 7"),
            (lambda c: c.head(1, 0), 9, "block of 0 bytes where 9 are left"),
            (lambda c: c.head(1, 10), 9, "block of 10 bytes where 9 are left"),
            (lambda c: c.head(1, 32768), 9, "block of 32768 bytes where 9 are left"),
            (lambda c: c.block([65, (9, 1)], length=packing.NO_LENGTH), 10, "no length code"),
            (
                lambda c: c.block([*b"q" * 99, (4, 90)], aligned=True, aligned_lengths=[0] * 8),
                103,
                "no aligned offset code",
            ),
            (lambda c: c.block([65], main=[9] * 496), 1, "main code of an LZX block uses 496 of 512"),
            (lambda c: c.block([65], length=[1] * 249), 1, "length code of an LZX block uses 249 of 2"),
            (lambda c: c.block([65], aligned=True, aligned_lengths=[1] * 8), 1, "aligned offset code"),
            (lambda c: (c.head(1, 5), c.put(0, 80)), 5, "code for lengths of an LZX block is empty"),
            (lambda c: c.plain(b"abc"), 5, "end before its 5 bytes"),
        ],
    )
    def test_chunks_that_contradict_themselves_are_damage(
        self, make: Callable[[Lzx], object], size: int, said: str
    ) -> None:
        chunk = Lzx()
        if "no length code" in said or "no aligned" in said:
            # The packer has no code for what it is to say either; any code of the right number of bits does.
            with pytest.raises(KeyError):
                make(chunk)
            chunk.put(0, 64)
        else:
            make(chunk)
        with pytest.raises(NtfsDamaged, match=said):
            lzx.unpack(chunk.end(), size)

    def test_a_repeated_length_must_be_a_length(self) -> None:
        chunk = Lzx()
        chunk.head(1, 3)
        for length in packing.FLAT_PRETREE:
            chunk.put(length, 4)
        pretree = packing.codes(packing.FLAT_PRETREE)
        chunk.put(*pretree[19])
        chunk.put(0, 1)
        chunk.put(*pretree[18])
        with pytest.raises(NtfsDamaged, match="repeats code length symbol 18"):
            lzx.unpack(chunk.end() + bytes(8), 3)

    def test_every_cut_short_chunk_is_damage(self) -> None:
        data = b"cut me short, cut me short, " * 30
        chunk = Lzx()
        chunk.block(list(packing.items_of(data, 4096, 257)))
        packed = chunk.end()
        for keep in range(len(packed)):
            with pytest.raises(NtfsDamaged):
                lzx.unpack(packed[:keep], len(data))


def _bits_after(items: list[packing.Item | str]) -> int:
    chunk = Lzx()
    chunk.block(items)
    return chunk.bit_count


@pytest.mark.parametrize("bits", range(1, 17))
def test_a_code_of_any_depth_is_decoded_as_it_was_made(bits: int) -> None:
    lengths = [*range(1, bits + 1), bits]
    table = decoding_table(lengths, "the code")
    assert len(table.entries) == 1 << bits
    for symbol, (code, length) in packing.codes(lengths).items():
        assert table.entries[code << bits - length] == symbol << 5 | length
        assert table.entries[((code + 1) << bits - length) - 1] == symbol << 5 | length


@lru_cache
def _real_chunks() -> list[tuple[Unpack, bytes, bytes]]:
    """Chunks that wimlib packed, with what is in them."""
    image = base_image("wof")
    volume = NtfsVolume.open(BytesSource(image.volume))
    found: list[tuple[Unpack, bytes, bytes]] = []
    for folder in ("xpress4k", "xpress8k", "xpress16k", "lzx"):
        for name in ("text.txt", "program.exe", "table.csv", "zeros.bin"):
            entry = volume.find(f"{folder}\\{name}")
            assert entry is not None
            (ref,) = entry.streams
            assert ref.kind is StreamKind.WOF
            whole = bytearray(ref.size)
            volume.read_into(ref, 0, memoryview(whole))
            (start, _) = ref.extents[0] if ref.extents else (None, 0)
            if start is None:
                continue
            count = -(-ref.size // ref.unit_bytes)
            base = 4 * (count - 1)
            assert base
            first_end = struct.unpack_from("<I", image.volume, start)[0]
            packed = image.volume[start + base : start + base + first_end]
            unpack = lzx.unpack if folder == "lzx" else xpress.unpack
            found.append((unpack, packed, bytes(whole[: ref.unit_bytes])))
    return found


def test_first_chunks_are_there_in_all_formats() -> None:
    chunks = _real_chunks()
    assert {len(data) for _, _, data in chunks} == {4096, 8192, 16384, 32768}
    for unpack, packed, data in chunks:
        assert len(packed) < len(data)
        assert unpack(packed, len(data)) == data


def test_code_of_the_fixture_holds_calls_that_are_translated() -> None:
    """So that a wrong translation could not pass unseen."""
    code = program(SEED, "program lzx", 3 * 32768 + 17)[:32768]
    assert code in [data for unpack, _, data in _real_chunks() if unpack is lzx.unpack]
    again = bytearray(code)
    lzx.undo_e8(again)
    assert sum(a != b for a, b in zip(again, code, strict=True)) > 1000


@pytest.mark.parametrize("seed", range(12))
def test_mutated_chunks_give_damage_or_exactly_their_size(seed: int) -> None:
    """Thousands in all: bytes replaced, cut off, put in, put on; nothing but NtfsDamaged may come of it."""
    chance = random.Random(seed)
    chunks = _real_chunks()
    outcomes = {"damage": 0, "bytes": 0}
    for _ in range(250):
        unpack, packed, data = chance.choice(chunks)
        mutated = _mutated(chance, packed)
        size = len(data) if chance.random() < 0.8 else chance.randrange(1, len(data) + 1)
        try:
            unpacked = unpack(mutated, size)
        except NtfsDamaged:
            outcomes["damage"] += 1
        else:
            assert len(unpacked) == size
            outcomes["bytes"] += 1
    assert all(outcomes.values()), outcomes


def _mutated(chance: random.Random, packed: bytes) -> bytes:
    out = bytearray(packed)
    kind = chance.randrange(5)
    if kind == 0:
        del out[chance.randrange(len(out)) :]
    elif kind == 1:
        at = chance.randrange(len(out))
        out[at:at] = chance.randbytes(chance.randrange(1, 9))
    elif kind == 2:
        out += chance.randbytes(chance.randrange(1, 300))
    elif kind == 3:
        # The Huffman code lengths of XPRESS, and the head of LZX.
        out[chance.randrange(min(256, len(out)))] ^= 1 << chance.randrange(8)
    for _ in range(chance.randrange(kind == 4, 5) if out else 0):
        out[chance.randrange(len(out))] = chance.choice([0, 255, chance.randrange(256)])
    return bytes(out)


@given(st.binary(max_size=600), st.integers(1, 32768))
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_damage_or_exactly_their_size(packed: bytes, size: int) -> None:
    for unpack in (xpress.unpack, lzx.unpack):
        with suppress(NtfsDamaged):
            assert len(unpack(packed, size)) == size
