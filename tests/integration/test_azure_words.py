"""What the store's own transport makes of the words of a server: answers that are none, and waits."""

from __future__ import annotations

import pytest

from agent.blobs.azure import AzureBlobStore
from agent.blobs.azure_errors import LONGEST_WAIT_S
from agent.blobs.azure_sdk import SdkBlobStore
from agent.blobs.crc64 import crc64, header
from agent.errors import BlobRequestFailed, IngestError, StoreThrottled, StoreUnreachable
from agent.model.secrets import Secret
from tests.kit.azure_store import NAME, SAS, connected, failure_of, put, refusal
from tests.kit.wire import CREATED, Peer, Script, serving

pytestmark = pytest.mark.usefixtures("_no_proxies")


# --- answers that are none -----------------------------------------------------------------------

BROKEN: list[tuple[str, bytes, type[IngestError], str]] = [
    ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", BlobRequestFailed, "does not begin as HTTP/1.1"),
    ("endless head", b"HTTP/1.1 201 Created\r\nx: " + b"y" * 40_000, BlobRequestFailed, "longer than 32768"),
    (
        "many headers",
        b"HTTP/1.1 201 Created\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(101)) + b"\r\n",
        BlobRequestFailed,
        "more than 100 headers",
    ),
    (
        "no colon",
        b"HTTP/1.1 201 Created\r\na: b\r\nnonsense\r\n\r\n",
        BlobRequestFailed,
        "header 2 is malformed",
    ),
    ("two lengths", CREATED[:-2] + b"Content-Length: 1\r\n\r\n", BlobRequestFailed, "two different"),
    ("cut in the head", b"HTTP/1.1 201 Created\r\nConte", StoreUnreachable, "broke off"),
    ("cut in the body", b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\n<", StoreUnreachable, "broke off"),
    ("interims", b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + CREATED, BlobRequestFailed, "interim"),
    ("a page", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", BlobRequestFailed, "cannot be read"),
]


@pytest.mark.parametrize(("answer", "kind", "text"), [row[1:] for row in BROKEN], ids=[r[0] for r in BROKEN])
async def test_an_answer_that_is_none_is_named(answer: bytes, kind: type[IngestError], text: str) -> None:
    with serving(_answering(answer)) as server:
        async with connected(server.endpoint) as store:
            error = await failure_of(put(store))
    assert type(error) is kind
    assert text in error.detail
    assert (error.__cause__, error.__context__) == (None, None)


def _answering(answer: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.say(answer)

    return script


@pytest.mark.parametrize(
    "framing",
    [
        b"Transfer-Encoding: chunked\r\n\r\n"
        b"2\r\n<C\r\n19;a=b\r\node>LeaseIdMissing</Code>\r\n0\r\nT: x\r\n\r\n",
        b"Connection: close\r\n\r\n<Code>LeaseIdMissing</Code>",
        b"Content-Length: 200000\r\n\r\n<Code>LeaseIdMissing</Code>" + b" " * 200_000,
    ],
    ids=["chunked", "to the end", "long"],
)
async def test_the_code_of_an_error_is_found_in_a_body_of_any_framing(framing: bytes) -> None:
    head = b"HTTP/1.1 412 Precondition\r\nx-ms-request-id: 6f4a0c9e-001e-0000-0000-00000000002a\r\n"
    with serving(_answering(head + framing)) as server:
        async with connected(server.endpoint) as store:
            error = await failure_of(put(store, replace=True))
    assert error.id == "LeasePresent"
    assert "412 LeaseIdMissing (request 6f4a0c9e-001e-0000-0000-00000000002a)" in error.detail


@pytest.mark.parametrize("wait", ["soon", "-1", "99999999999", "Wed, 99 Oct 2026", "9.5"])
async def test_a_wait_that_is_no_number_of_seconds_and_no_date_is_none(wait: str) -> None:
    answer = refusal("503 Busy", "ServerBusy", f"Retry-After: {wait}\r\n")
    with serving(_answering(answer)) as server:
        async with connected(server.endpoint) as store:
            error = await failure_of(put(store))
    assert isinstance(error, StoreThrottled)
    assert error.retry_after_s is None


NOW = "Date: Wed, 21 Oct 2026 07:28:00 GMT\r\n"


@pytest.mark.parametrize("adapter", [AzureBlobStore, SdkBlobStore])
@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ("", None),
        ("Retry-After: 0\r\n", 0.0),
        ("Retry-After: 17\r\n", 17.0),
        (f"{NOW}Retry-After: Wed, 21 Oct 2026 07:28:25 GMT\r\n", 25.0),
        (f"{NOW}Retry-After: Wednesday, 21-Oct-26 07:29:00 GMT\r\n", 60.0),
        (f"{NOW}Retry-After: Wed, 21 Oct 2026 07:00:00 GMT\r\n", 0.0),
        (f"{NOW}Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", LONGEST_WAIT_S),
        ("Retry-After: Wed, 21 Oct 1998 07:28:00 GMT\r\n", 0.0),
        ("Date: nonsense\r\nRetry-After: Wed, 21 Oct 1998 07:28:00 GMT\r\n", 0.0),
    ],
)
async def test_what_the_service_asks_to_wait_is_told_by_both_ways_to_it(
    adapter: type[SdkBlobStore], headers: str, wait_s: float | None
) -> None:
    answer = refusal("503 Busy", "ServerBusy", headers)
    with serving(_answering(answer)) as server:
        store = adapter.connect(server.endpoint, Secret(SAS))
        try:
            with pytest.raises(StoreThrottled) as caught:
                await store.put_block(NAME, "AAAA", [memoryview(b"data")], crc64([b"data"]))
        finally:
            await store.close()
    assert caught.value.retry_after_s == wait_s


async def test_the_echo_of_a_small_blob_is_compared_too() -> None:
    answer = b"HTTP/1.1 201 Created\r\nx-ms-content-crc64: " + header(1).encode() + CREATED[20:]
    with serving(_answering(answer)) as server:
        async with connected(server.endpoint) as store:
            assert (await failure_of(put(store))).id == "ChecksumMismatch"
