"""What the service and the ways to it report, in the classes of ``agent.errors``.

The SDK's errors may show request addresses, and those hold the SAS; so their text and objects go no
further than this module. What is kept: the status, the service's error code and request id, the kind
of failure.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import aiohttp
from azure.core.exceptions import (
    AzureError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
)

from agent.blobs.store import Replace
from agent.blobs.wire.answer import Answer
from agent.blobs.wire.trouble import BadAnswer, BrokenOff, WireTrouble
from agent.errors import (
    BlobAlreadyExists,
    BlobNotFound,
    BlobRequestFailed,
    ChecksumMismatch,
    IngestError,
    LeasePresent,
    ServiceError,
    StoreRefused,
    StoreThrottled,
    StoreUnreachable,
)

T = TypeVar("T")

LONGEST_WAIT_S = 86_400.0
"""What a date may ask for; see also ``agent.transfer.aimd``."""

_BY_CODE: dict[str, type[ServiceError]] = {
    "BlobAlreadyExists": BlobAlreadyExists,
    "Crc64Mismatch": ChecksumMismatch,
    "Md5Mismatch": ChecksumMismatch,
    "InternalError": StoreThrottled,
    "OperationTimedOut": StoreThrottled,
    "ServerBusy": StoreThrottled,
    "InvalidAuthenticationInfo": StoreRefused,
}
_BY_STATUS: dict[int, type[ServiceError]] = {
    401: StoreRefused,
    403: StoreRefused,
    404: BlobNotFound,
    408: StoreThrottled,
    429: StoreThrottled,
    500: StoreThrottled,
    502: StoreThrottled,
    503: StoreThrottled,
    504: StoreThrottled,
}
_CONDITION_CODE = "ConditionNotMet"
# With If-None-Match: * these say that the blob is there; a SAS without the right to overwrite
# answers the first, and only a blob that is there can be immutable.
_EXISTS_CODES = frozenset(
    {
        "UnauthorizedBlobOverwrite",
        "BlobImmutableDueToPolicy",
        "BlobImmutableDueToLegalHold",
    }
)

_MEANINGS = {
    "BlobImmutableDueToPolicy": "an immutability policy or a legal hold keeps it as it is",
    "BlobImmutableDueToLegalHold": "a legal hold keeps it as it is",
    "BlobArchived": "it lies in the archive tier",
    "BlobBeingRehydrated": "it is on its way out of the archive tier",
    "SnapshotsPresent": "it has snapshots",
}

_CODE_ELEMENT = re.compile(rb"<Code>([A-Za-z0-9]{1,80})</Code>")
_REQUEST_ID = re.compile(r"[0-9A-Za-z-]{1,64}\Z")
_SECONDS = re.compile(r"[0-9]{1,5}\Z")


async def asked(request: Awaitable[T], subject: str, host: str, *, replace: Replace = True) -> T:
    """The result of the request, or an error of the tree in place of the SDK's.

    ``subject`` and ``host`` (host:port) stand in the message; ``replace`` is the request's condition.
    The error is raised out of reach of the SDK's, so that it has no cause and no context: what it
    would show of the request goes nowhere.
    """
    error: IngestError
    try:
        return await request
    except (IncompleteReadError, aiohttp.ClientPayloadError):
        error = StoreUnreachable(f"{subject}: {host} broke off in the middle of an answer")
    except HttpResponseError as said:
        error = _sdk_refusal(subject, said, replace)
    except (ValueError, AttributeError):
        # So the SDK's parsers end when a web page of some proxy stands in for the answer.
        error = BlobRequestFailed(f"{subject}: the store's answer cannot be read")
    except (AzureError, aiohttp.ClientError, TimeoutError, OSError) as trouble:
        error = StoreUnreachable(f"{subject}: no answer from {host} ({_kind(trouble)})")
    raise error


def unanswered(trouble: WireTrouble, subject: str, host: str) -> IngestError:
    """For a request that ``agent.blobs.wire`` did not bring to an answer."""
    if isinstance(trouble, BadAnswer):
        return BlobRequestFailed(f"{subject}: the store's answer cannot be read: {trouble.why}")
    if isinstance(trouble, BrokenOff):
        return StoreUnreachable(f"{subject}: {host} broke off in the middle of an answer")
    return StoreUnreachable(f"{subject}: no answer from {host} ({trouble.why})")


def refused(answer: Answer, subject: str, *, replace: Replace) -> ServiceError:
    """For an answer of ``agent.blobs.wire`` that does not say what the request's success would."""
    code = _code(answer.headers.get("x-ms-error-code", ""))
    if not code and (found := _CODE_ELEMENT.search(answer.body)):
        code = found[1].decode("ascii")
    return _refusal(subject, answer.status, code, answer.headers, replace)


def service_code(said: HttpResponseError) -> str:
    """The service's error code, or an empty text."""
    headers = getattr(said.response, "headers", None) or {}
    code = headers.get("x-ms-error-code") or getattr(said, "error_code", None) or ""
    return _code(str(getattr(code, "value", code)))


def _code(text: str) -> str:
    return text if text.isascii() and text.isalnum() and len(text) <= 80 else ""


def _sdk_refusal(subject: str, said: HttpResponseError, replace: Replace) -> ServiceError:
    status = said.status_code
    if isinstance(said, DecodeError) or status is None:
        return BlobRequestFailed(f"{subject}: the store's answer cannot be read")
    headers = getattr(said.response, "headers", None) or {}
    return _refusal(subject, status, service_code(said), headers, replace)


def _refusal(
    subject: str, status: int, code: str, headers: Mapping[str, str], replace: Replace
) -> ServiceError:
    if status < 300:
        return BlobRequestFailed(f"{subject}: the store's answer cannot be read")
    request_id = headers.get("x-ms-request-id", "")
    named = f" (request {request_id})" if _REQUEST_ID.match(request_id) else ""
    kind = _classify(status, code, replace)
    meaning = f": {_MEANINGS[code]}" if code in _MEANINGS else ""
    detail = f"{subject}: the store answered {status}{' ' + code if code else ''}{named}{meaning}"
    if issubclass(kind, StoreThrottled):
        return kind(detail, _wait_s(headers))
    return kind(detail)


def _wait_s(headers: Mapping[str, str]) -> float | None:
    """Of Retry-After: seconds, or a date (RFC 9110, 10.2.3), which is counted from the service's own."""
    wait = headers.get("retry-after", "").strip()
    if _SECONDS.match(wait):
        return float(wait)
    until = _moment(wait)
    if until is None:
        return None
    now = _moment(headers.get("date", "")) or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), LONGEST_WAIT_S)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _classify(status: int, code: str, replace: Replace) -> type[ServiceError]:
    if replace is not True and (code == _CONDITION_CODE or (status == 412 and not code)):
        return BlobAlreadyExists
    if replace is False and code in _EXISTS_CODES:
        return BlobAlreadyExists
    if code.startswith("Lease"):
        return LeasePresent
    return _BY_CODE.get(code) or _BY_STATUS.get(status, BlobRequestFailed)


def _kind(trouble: BaseException) -> str:
    """Refused, timed out, name not known: by type and errno, never by the text of the error."""
    chain: list[BaseException] = [trouble]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and len(chain) < 8:
        chain.append(cause)
    for link in chain:
        if isinstance(link, aiohttp.ClientConnectorDNSError):
            return "its name is not known"
        if isinstance(link, aiohttp.ClientSSLError):
            return "TLS failed"
        if isinstance(link, TimeoutError):
            return "timed out"
        if isinstance(link, aiohttp.ServerDisconnectedError):
            return "disconnected"
    numbers = [link.errno for link in chain if isinstance(link, OSError) and link.errno]
    return os.strerror(numbers[-1]) if numbers else "connection failed"
