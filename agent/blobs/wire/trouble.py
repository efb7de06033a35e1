"""Why a request got no answer, in words that hold no address beyond a host's, and no credential."""

from __future__ import annotations

import os
import socket
import ssl


class WireTrouble(Exception):
    """``why`` is a short phrase for a message."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class NoAnswer(WireTrouble):
    """Nothing of an answer came; what was sent may have been done or not."""


class BrokenOff(WireTrouble):
    """The connection ended in the middle of an answer."""


class BadAnswer(WireTrouble):
    """What came is not an answer of HTTP/1.1 within the bounds of ``agent.blobs.wire.answer``."""


def why(trouble: OSError) -> str:
    """By type and errno; the text of an error is not trusted, but for OpenSSL's verdict on a certificate."""
    if isinstance(trouble, socket.gaierror):
        return "its name is not known"
    if isinstance(trouble, TimeoutError):
        return "timed out"
    if isinstance(trouble, ssl.SSLCertVerificationError):
        return f"TLS failed: {trouble.verify_message or 'its certificate is not trusted'}"
    if isinstance(trouble, ssl.SSLError):
        return f"TLS failed{': ' + trouble.reason if trouble.reason else ''}"
    return os.strerror(trouble.errno) if trouble.errno else "connection failed"
