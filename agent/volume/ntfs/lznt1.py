"""LZNT1, the compression of NTFS files.

A unit is a sequence of chunks of 4096 bytes each: a 16-bit header (length, a mark, whether packed),
then groups of a flag byte and eight items, literals or back references whose split between distance
and length depends on the position in the chunk ([MS-XCA] section 2.5).
"""

from __future__ import annotations

from agent.errors import NtfsDamaged

CHUNK_BYTES = 4096
_MARK = 3


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
    while at < end:
        flags = packed[at]
        at += 1
        if flags == 0:
            out += packed[at : min(at + 8, end)]
            at += 8
            continue
        for bit in range(8):
            if at >= end:
                break
            if flags >> bit & 1:
                if at + 2 > end:
                    raise NtfsDamaged("an LZNT1 chunk ends inside a back reference")
                _copy_back(out, packed[at] | packed[at + 1] << 8)
                at += 2
            else:
                out.append(packed[at])
                at += 1
    if len(out) > CHUNK_BYTES:
        raise NtfsDamaged(f"an LZNT1 chunk unpacks to more than {CHUNK_BYTES} bytes")
    return out


def _copy_back(out: bytearray, token: int) -> None:
    here = len(out)
    length_bits = 12 - max(0, (here - 1).bit_length() - 4)
    distance = (token >> length_bits) + 1
    length = (token & ((1 << length_bits) - 1)) + 3
    if distance > here or here + length > CHUNK_BYTES:
        raise NtfsDamaged(f"an LZNT1 back reference of {length} bytes points {distance} back at {here}")
    if distance >= length:
        out += out[here - distance : here - distance + length]
    else:
        out += (out[here - distance :] * (length // distance + 1))[:length]
