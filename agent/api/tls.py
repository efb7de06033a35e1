"""The certificate of the API, and its successors."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from agent.config.api import TcpSettings
from agent.errors import ConfigInvalid
from agent.telemetry import Log

RENEW_EVERY_S = 10.0


def context_of(settings: TcpSettings) -> ssl.SSLContext:
    """For TLS 1.2 and newer. Raises ConfigInvalid when certificate or key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, settings)
    return context


async def renew(settings: TcpSettings, context: ssl.SSLContext, log: Log) -> None:
    """A certificate that is replaced counts for connections from then on; a wrong one leaves the old one."""
    seen = await asyncio.to_thread(_stamps, settings)
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        found = await asyncio.to_thread(_stamps, settings)
        if found == seen:
            continue
        seen = found
        try:
            # First into a context of its own: half of a pair must not get into the one that is in use.
            await asyncio.to_thread(context_of, settings)
            _load(context, settings)
        except ConfigInvalid as error:
            log.error("api.certificate_kept", detail=error.detail, next=error.next_step)
        else:
            log.info("api.certificate_renewed")


def _stamps(settings: TcpSettings) -> list[tuple[int, int] | None]:
    return [_stamp(path) for path in (settings.certificate, settings.certificate_key)]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _load(context: ssl.SSLContext, settings: TcpSettings) -> None:
    try:
        context.load_cert_chain(settings.certificate, settings.certificate_key, password=_no_password)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or getattr(error, "reason", None) or "they do not fit together"
        raise ConfigInvalid(f"api.certificate and api.certificate_key cannot be used: {why}") from None


def _no_password() -> str:
    """A key with a password would make the server ask for it on a terminal."""
    raise ValueError("the key has a password")
