"""Looks at a Blob endpoint without a credential: does it answer, what is it, what time has it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp

from agent.blobs.azure_account import API_VERSION, Account
from agent.blobs.wire.dial import tls_context
from agent.errors import StoreUnreachable

ANSWER_WITHIN_S = 15.0
_UNKNOWN_VERSION = frozenset({"InvalidHeaderValue", "UnsupportedHeader", "FeatureVersionMismatch"})


@dataclass(frozen=True, slots=True)
class Probed:
    """``at`` is the service's clock, UTC, None where it tells none."""

    is_blob_service: bool
    takes_version: bool
    is_encrypted: bool
    at: datetime | None


async def probe(endpoint: str) -> Probed:
    """One anonymous request, which reads nothing and changes nothing.

    Raises ConfigInvalid for a malformed endpoint, StoreUnreachable with the reason.
    """
    account = Account.of(endpoint)
    where = f"{account.endpoint}/?comp=properties&restype=account"
    context = tls_context()
    connector = aiohttp.TCPConnector(ssl=context)
    try:
        async with (
            asyncio.timeout(ANSWER_WITHIN_S),
            aiohttp.ClientSession(connector=connector, trust_env=True) as session,
            session.get(where, headers={"x-ms-version": API_VERSION}, allow_redirects=False) as answer,
        ):
            return _probed(answer, account)
    except TimeoutError:
        raise StoreUnreachable(f"no answer from {account.host} within {ANSWER_WITHIN_S:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise StoreUnreachable(f"no answer from {account.host} ({_why(error)})") from None


def _probed(answer: aiohttp.ClientResponse, account: Account) -> Probed:
    code = answer.headers.get("x-ms-error-code", "")
    return Probed(
        is_blob_service="x-ms-request-id" in answer.headers,
        takes_version=not (answer.status == 400 and code in _UNKNOWN_VERSION),
        is_encrypted=account.endpoint.startswith("https://"),
        at=_time(answer.headers.get("Date", "")),
    )


def _time(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _why(error: Exception) -> str:
    """One line without addresses, which libraries put into their texts."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        said = inner.verify_message if isinstance(inner, ssl.SSLCertVerificationError) else ""
        return f"its certificate is not trusted: {said or 'it does not verify'}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(error, aiohttp.ClientSSLError):
        return "no TLS connection"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
