"""What the service and our own way to it report, in the classes of ``agent.errors``.

What is kept of an answer: the status, the service's error code and request id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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


def unanswered(trouble: WireTrouble, subject: str, host: str) -> IngestError:
    """For a request that ``agent.blobs.wire`` did not bring to an answer."""
    if isinstance(trouble, BadAnswer):
        return BlobRequestFailed(f"{subject}: the store's answer cannot be read: {trouble.why}")
    if isinstance(trouble, BrokenOff):
        return StoreUnreachable(f"{subject}: {host} broke off in the middle of an answer")
    return StoreUnreachable(f"{subject}: no answer from {host} ({trouble.why})")


def refused(answer: Answer, subject: str, *, replace: Replace) -> ServiceError:
    """For an answer of ``agent.blobs.wire`` that does not say what the request's success would."""
    return refusal(subject, answer.status, code_of(answer), answer.headers, replace)


def code_of(answer: Answer) -> str:
    """The service's error code, or an empty text."""
    code = checked_code(answer.headers.get("x-ms-error-code", ""))
    if not code and (found := _CODE_ELEMENT.search(answer.body)):
        code = found[1].decode("ascii")
    return code


def checked_code(text: str) -> str:
    """The code, if it can be one."""
    return text if text.isascii() and text.isalnum() and len(text) <= 80 else ""


def refusal(
    subject: str, status: int, code: str, headers: Mapping[str, str], replace: Replace
) -> ServiceError:
    """What an answer means, by its status and the service's code; ``replace`` is the request's condition."""
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
