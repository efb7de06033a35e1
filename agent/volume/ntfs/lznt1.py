"""LZNT1, the compression of NTFS files.

A unit is a sequence of chunks of 4096 bytes each: a 16-bit header (length, a mark, whether packed),
then groups of a flag byte and eight items, literals or back references whose split between distance
and length depends on the position in the chunk ([MS-XCA] section 2.5).
"""

from __future__ import annotations

from agent.errors import NtfsDamaged

CHUNK_BYTES = 4096
_MARK = 3
_GROUP = 8
_REFERENCES = [tuple(bool(flags >> bit & 1) for bit in range(_GROUP)) for flags in range(256)]
"""Which of the items after a flag byte are back references."""
_LENGTH_BITS = [12 - max(0, (here - 1).bit_length() - 4) for here in range(2 * CHUNK_BYTES)]
"""How many bits of a back reference are its length, by place. No chunk goes on for longer: what it holds is
at most 4096 literals, and back references end below 4096."""


def decompress(data: bytes | bytearray | memoryview, size: int) -> bytearray:
    """One compression unit: exactly ``size`` bytes, zeros after what ``data`` gives.

    Raises NtfsDamaged when ``data`` is not LZNT1 or gives more than ``size`` bytes.
    """
    packed = bytes(data)
    out = bytearray()
    at = 0
    while at + 2 <= len(packed):
        header = packed[at] | packed[at + 1] << 8
        if header == 0:
            break
        end = at + 3 + (header & 0x0FFF)
        if (header >> 12) & 7 != _MARK or end > len(packed):
            raise NtfsDamaged(f"byte {at} of a compression unit is no LZNT1 chunk (header {header:#06x})")
        if len(out) + CHUNK_BYTES > size:
            raise NtfsDamaged(f"a compression unit unpacks to more than its {size} bytes")
        chunk = _unpack_chunk(packed, at + 2, end) if header & 0x8000 else packed[at + 2 : end]
        out += chunk
        out += bytes(CHUNK_BYTES - len(chunk))
        at = end
    out += bytes(size - len(out))
    return out


def _unpack_chunk(packed: bytes, at: int, end: int) -> bytearray:
    out = bytearray()
    append = out.append
    while at < end:
        flags = packed[at]
        at += 1
        if not flags:
            out += packed[at : min(at + _GROUP, end)]
            at += _GROUP
            continue
        for is_reference in _REFERENCES[flags]:
            if at >= end:
                break
            if not is_reference:
                append(packed[at])
                at += 1
                continue
            if at + 2 > end:
                raise NtfsDamaged("an LZNT1 chunk ends inside a back reference")
            token = packed[at] | packed[at + 1] << 8
            at += 2
            here = len(out)
            length_bits = _LENGTH_BITS[here]
            distance = (token >> length_bits) + 1
            length = (token & (1 << length_bits) - 1) + 3
            if distance > here or here + length > CHUNK_BYTES:
                raise NtfsDamaged(
                    f"an LZNT1 back reference of {length} bytes points {distance} back at {here}"
                )
            if distance >= length:
                out += out[here - distance : here - distance + length]
            else:
                out += (out[here - distance :] * (length // distance + 1))[:length]
    if len(out) > CHUNK_BYTES:
        raise NtfsDamaged(f"an LZNT1 chunk unpacks to more than {CHUNK_BYTES} bytes")
    return out
