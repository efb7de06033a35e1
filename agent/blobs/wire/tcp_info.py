"""What the kernel knows of a TCP connection: ``struct tcp_info`` of linux/tcp.h."""

from __future__ import annotations

import socket
import struct

_TCP_INFO_BYTES = 152
_BYTES_ACKED = struct.Struct("=Q")
_BYTES_ACKED_AT = 120
"""tcpi_bytes_acked."""
_UNACKED = struct.Struct("=I")
_UNACKED_AT = 24
"""tcpi_unacked, in segments."""
_UNSENT_AND_ROUND_TRIP = struct.Struct("=II")
_UNSENT_AND_ROUND_TRIP_AT = 144
"""tcpi_notsent_bytes and tcpi_min_rtt, the latter in µs."""
_LAST_SEGMENTS = 2
"""A receiver may hold back its word of the last ones until it has something to say."""
_UNKNOWN = 0xFFFFFFFF


def acked_bytes(sock: socket.socket) -> int:
    """How much of all that was ever sent has arrived; 0 when nothing is known."""
    info = _info(sock)
    if len(info) < _BYTES_ACKED_AT + _BYTES_ACKED.size:
        return 0
    acked: int = _BYTES_ACKED.unpack_from(info, _BYTES_ACKED_AT)[0]
    return acked


def line(sock: socket.socket) -> tuple[bool, float]:
    """Whether bytes are on their way that did not arrive, and the shortest round trip seen, in s."""
    info = _info(sock)
    if len(info) < _TCP_INFO_BYTES:
        return False, 0.0
    unacked = _UNACKED.unpack_from(info, _UNACKED_AT)[0]
    unsent, round_trip_us = _UNSENT_AND_ROUND_TRIP.unpack_from(info, _UNSENT_AND_ROUND_TRIP_AT)
    round_trip_s = round_trip_us / 1e6 if round_trip_us < _UNKNOWN else 0.0
    return unsent > 0 or unacked > _LAST_SEGMENTS, round_trip_s


def _info(sock: socket.socket) -> bytes:
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return b""
