"""One request of a web-hook: signed, over TLS that is checked, bounded in time and size.

Of the answer nothing but its status line and headers is read, and no redirect is followed: the body was
signed for one receiver. Errors are told by kind, for an address may hold a secret.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from agent import __version__
from agent.errors import ConfigInvalid
from agent.station.notices.outcome import DELIVERED, Outcome, given_up, put_off
from agent.threads import in_thread

if TYPE_CHECKING:
    import aiohttp

WITHIN_S = 15.0
MOST_HEADER_BYTES = 8190
PATIENT = frozenset({408, 425, 429})
"""Refusals of the moment; those of 500 and more are as well."""


async def post(
    url: str, body: bytes, headers: Mapping[str, str], *, ca_file: Path | None, within_s: float = WITHIN_S
) -> Outcome:
    """One try. Never raises for what a receiver or the way to it does; ConfigInvalid for ``ca_file``."""
    import aiohttp  # here, for it takes longer to load than most commands take in all

    context = await in_thread(lambda: _tls(ca_file))
    try:
        async with asyncio.timeout(within_s):
            return await _post(url, body, headers, context)
    except TimeoutError:
        return put_off(f"no answer within {within_s:g} seconds")
    except aiohttp.ClientConnectorCertificateError as error:
        why = getattr(error.certificate_error, "verify_message", "") or type(error).__name__
        return put_off(f"the certificate of the receiver is refused: {why}")
    except aiohttp.ClientConnectorDNSError:
        return put_off("the receiver's name is not known")
    except aiohttp.ClientConnectorError as error:
        why = os.strerror(error.os_error.errno) if error.os_error.errno else type(error).__name__
        return put_off(f"the receiver cannot be reached: {why}")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return put_off(f"the receiver did not answer as it should: {type(error).__name__}")


async def _post(url: str, body: bytes, headers: Mapping[str, str], context: ssl.SSLContext) -> Outcome:
    import aiohttp

    connector = aiohttp.TCPConnector(ssl=context, force_close=True, resolver=_resolver(), limit=1)
    sent = {
        "content-type": "application/json",
        "user-agent": f"drive-ingest-agent/{__version__}",
        **headers,
    }
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=MOST_HEADER_BYTES,
        max_field_size=MOST_HEADER_BYTES,
    )
    async with session:
        answer = await session.post(
            url, data=body, headers=sent, allow_redirects=False, proxy=_proxy(url), timeout=_no_limit()
        )
        try:
            return _outcome(answer.status, answer.headers.get("retry-after", ""))
        finally:
            # Not released, which would read what is left.
            answer.close()


def _no_limit() -> aiohttp.ClientTimeout:
    """Time is kept outside, from the name to the answer."""
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=None)


def _outcome(status: int, retry_after: str) -> Outcome:
    why = f"the receiver answered {status}"
    if 200 <= status < 300:
        return DELIVERED
    if status in PATIENT or status >= 500:
        return put_off(why, float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None)
    if 300 <= status < 400:
        return given_up(f"{why}, a redirect, which is not followed")
    return given_up(why)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else os.fspath(ca_file))
    except (OSError, ValueError):
        raise ConfigInvalid("the ca_file cannot be read, or holds no certificate") from None


def _proxy(url: str) -> str | None:
    """As the environment says; the client's own way would also hand out passwords of a netrc file."""
    parts = urlsplit(url)
    # http:// is for this machine alone: through a proxy it would be in the clear on a network.
    if parts.scheme != "https" or not parts.hostname or proxy_bypass(parts.hostname):
        return None
    found = getproxies().get(parts.scheme)
    return found if found and found.startswith("http://") else None


def _resolver() -> Any:
    """Names are looked up in a thread of its own: the loop's are few, and the drives need them."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Resolver(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            found = await in_thread(
                lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
            )
            return [
                ResolveResult(
                    hostname=host,
                    host=str(to[0]),
                    port=int(to[1]),
                    family=kind,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST,
                )
                for kind, _, proto, _, to in found
            ]

        async def close(self) -> None:
            return

    return Resolver()
