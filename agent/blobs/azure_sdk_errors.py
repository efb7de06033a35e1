"""What the SDK reports, in the classes of ``agent.errors``.

Its errors may show request addresses, and those hold the SAS; so their text and objects go no further
than this module. What is kept: the status, the service's error code and request id, the kind of failure.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import TypeVar

import aiohttp
from azure.core.exceptions import AzureError, DecodeError, HttpResponseError, IncompleteReadError

from agent.blobs.azure_errors import checked_code, refusal
from agent.blobs.store import Replace
from agent.errors import BlobRequestFailed, IngestError, ServiceError, StoreUnreachable

T = TypeVar("T")


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


def service_code(said: HttpResponseError) -> str:
    """The service's error code, or an empty text."""
    headers = getattr(said.response, "headers", None) or {}
    code = headers.get("x-ms-error-code") or getattr(said, "error_code", None) or ""
    return checked_code(str(getattr(code, "value", code)))


def _sdk_refusal(subject: str, said: HttpResponseError, replace: Replace) -> ServiceError:
    status = said.status_code
    if isinstance(said, DecodeError) or status is None:
        return BlobRequestFailed(f"{subject}: the store's answer cannot be read")
    headers = getattr(said.response, "headers", None) or {}
    return refusal(subject, status, service_code(said), headers, replace)


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
