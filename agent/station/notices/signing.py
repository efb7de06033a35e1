"""The signature of a web-hook.

Source: Standard Webhooks, specification 1.0: a secret is ``whsec_`` and 24 to 64 bytes in base64; what is
signed is ``id.timestamp.body`` by HMAC-SHA256; several signatures are divided by blanks.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence

from agent.errors import ConfigInvalid
from agent.model.secrets import Secret

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64


def signed_headers(message: str, timestamp: int, body: bytes, secrets: Sequence[Secret]) -> dict[str, str]:
    """Headers that prove who sent the body, and when (seconds since 1970). Raises ConfigInvalid."""
    told = f"{message}.{timestamp}.".encode("ascii") + body
    if not secrets:
        raise ConfigInvalid("there is no secret to sign with")
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(_key(secret), told) for secret in secrets),
    }


def _signature(key: bytes, told: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, told, "sha256")).decode("ascii")


def _key(secret: Secret) -> bytes:
    shape = f"a web-hook's secret must be {PREFIX} and {LEAST_BYTES} to {MOST_BYTES} bytes in base64"
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigInvalid(shape) from None
    if not text.startswith(PREFIX) or not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ConfigInvalid(shape)
    return key
