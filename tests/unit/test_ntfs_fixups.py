"""A record is judged alike alone and among others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.volume.ntfs.fixups import FILE_SIGNATURE, Verdict, apply_fixups

SIZES = (512, 1024, 4096)
NUMBER = b"\x07\x01"


def _record(size: int, place: int, count: int) -> bytearray:
    """Each tail holds the update sequence number, and what belongs there is told by where it stands."""
    record = bytearray((at * 7 + at // 512) % 256 for at in range(size))
    record[:8] = b"FILE" + place.to_bytes(2, "little") + count.to_bytes(2, "little")
    record[place : place + 2] = NUMBER
    for at in range(510, size, 512):
        record[at : at + 2] = NUMBER
    return record


def _judged(record: bytearray, others: int) -> tuple[Verdict, bytes]:
    block = bytearray(record)
    for _ in range(others):
        block += _record(len(record), 48, len(record) // 512 + 1)
    verdicts = apply_fixups(block, len(record), FILE_SIGNATURE)
    return Verdict(verdicts[0]), bytes(block[: len(record)])


@given(
    size=st.sampled_from(SIZES),
    place=st.integers(36, 520) | st.just(0xFFFE),
    extra=st.sampled_from((0, 0, 0, 1, -1)),
    damage=st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=2),
)
def test_a_record_alone_has_the_verdict_and_the_bytes_that_it_has_among_others(
    size: int, place: int, extra: int, damage: list[tuple[int, int]]
) -> None:
    record = _record(size, min(place, size - 2), size // 512 + 1 + extra)
    record[4:6] = place.to_bytes(2, "little")
    for at, value in damage:
        record[at % size] = value
    assert _judged(record, 0) == _judged(record, 2)


def test_each_verdict_is_given_to_a_record_alone() -> None:
    sound = _record(1024, 48, 3)
    verdict, bytes_ = _judged(sound, 0)
    assert verdict is Verdict.SOUND
    assert (bytes_[510:512], bytes_[1022:1024]) == (bytes(sound[50:52]), bytes(sound[52:54]))
    torn = bytearray(sound)
    torn[1022] ^= 1
    assert _judged(torn, 0) == (Verdict.TORN, bytes(torn))
    assert _judged(_record(1024, 47, 3), 0)[0] is Verdict.BAD_ARRAY
    assert _judged(bytearray(1024), 0)[0] is Verdict.NO_SIGNATURE
