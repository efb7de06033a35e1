"""Azure Blob storage: what there is much of by ``agent.blobs.wire``, all else by the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from agent.blobs import rules
from agent.blobs.azure_account import (
    API_VERSION,
    CONNECT_TIMEOUT_S,
    CONNECTIONS,
    READ_TIMEOUT_S,
    Account,
    right_of,
)
from agent.blobs.azure_answers import properties_in, uncommitted_in
from agent.blobs.azure_errors import code_of, refused, unanswered
from agent.blobs.crc64 import crc64 as crc64_of
from agent.blobs.crc64 import header
from agent.blobs.store import BlobProperties, Body, ETag, NewBlob, Replace
from agent.blobs.traffic import Traffic, added
from agent.blobs.wire.answer import Answer
from agent.blobs.wire.connection import Request
from agent.blobs.wire.dial import Route, connected, dial, tls_context
from agent.blobs.wire.heads import CRC64_HEADER, Heads, block_list
from agent.blobs.wire.lines import Lines
from agent.blobs.wire.pool import Pool
from agent.blobs.wire.trouble import WireTrouble
from agent.errors import BlobNotFound, BlobRequestFailed, ChecksumMismatch, IngestError
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.identity import ContainerName
from agent.model.secrets import Secret
from agent.threads import until_over

if TYPE_CHECKING:
    from agent.blobs.azure_sdk import SdkBlobStore
    from agent.blobs.entra import Tokens

OK, CREATED = 200, 201


class AzureBlobStore:
    """See ``agent.blobs.store.BlobStore``; the writes that there are many of are its own.

    Their bodies are sent from where they lie, by threads; when a call ends, no thread reads from its
    body any more, whether it was answered, failed or was cancelled. The SDK, which takes half a second
    and some 40 MiB to load, is loaded for the first call that is not one of them.
    """

    def __init__(
        self,
        account: Account,
        open_sdk: Callable[[], SdkBlobStore],
        heads: Heads,
        pool: Pool,
        lines: Lines,
        tokens: Tokens | None = None,
    ) -> None:
        """Use ``connect``."""
        self._account = account
        self._open_sdk = open_sdk
        self._opened_sdk: SdkBlobStore | None = None
        self._heads = heads
        self._pool, self._lines = pool, lines
        self._tokens = tokens
        self._id_lengths = rules.BlockIdLengths()

    @classmethod
    def connect(
        cls,
        endpoint: str,
        credential: Secret | Tokens | None,
        *,
        connections: int = CONNECTIONS,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> AzureBlobStore:
        """``credential`` is an account key, a SAS, or gives tokens; None reads public containers.

        Nothing is sent yet. ``connections`` bounds those of the writes, and as many again of all
        else. ``read_timeout_s`` is for an answer, and for a write on which nothing moves. Proxies and
        CAs are those of the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY; SSL_CERT_FILE,
        SSL_CERT_DIR). Raises ConfigInvalid.
        """
        account, tls = Account.of(endpoint), tls_context()
        tokens = credential if not isinstance(credential, Secret) else None
        right = right_of(account, credential) if isinstance(credential, Secret) else tokens
        route = Route.to(account.endpoint, tls)

        def open_sdk() -> SdkBlobStore:
            from agent.blobs.azure_sdk import SdkBlobStore

            return SdkBlobStore.connect(
                endpoint,
                credential,
                connections=connections,
                connect_timeout_s=connect_timeout_s,
                read_timeout_s=read_timeout_s,
                tls=tls,
            )

        heads = Heads(account, right, route, API_VERSION)
        pool = Pool(lambda: dial(route, connect_timeout_s), connections, read_timeout_s)
        lines = Lines(lambda: connected(route, connect_timeout_s))
        return cls(account, open_sdk, heads, pool, lines, tokens)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._account.endpoint!r})"

    @property
    def _sdk(self) -> SdkBlobStore:
        if self._opened_sdk is None:
            self._opened_sdk = self._open_sdk()
        return self._opened_sdk

    def url(self, name: BlobName) -> str:
        """The blob's address, without any credential."""
        return self._account.url(name)

    async def ensure_container(self, container: ContainerName) -> None:
        """Make the container unless it is there; whatever else is answered is the SDK's to hear again."""
        await self._authorize()
        try:
            answer = await self._pool.ask(self._heads.create_container(container), ())
        except WireTrouble as trouble:
            error = unanswered(trouble, str(container), self._account.host)
        else:
            if answer.status != CREATED and code_of(answer) != "ContainerAlreadyExists":
                await self._sdk.ensure_container(container)
            return
        raise error

    async def put_blob(
        self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """A whole block blob in one request; at most 256 MiB."""
        length = rules.check_put(body)
        rules.check_attributes(name, attributes)
        checksum: int | None = crc64
        if attributes.content_md5 is not None:
            # The service takes one checksum of a body, and checks this MD5: it stands in for the CRC-64.
            await until_over(asyncio.create_task(asyncio.to_thread(rules.check_crc64, name, body, crc64)))
            checksum = None
        await self._authorize()
        head = self._heads.put_blob(name, length, checksum, attributes, replace=replace)
        answer = await self._sent(name, head, body, replace=replace)
        if checksum is not None:
            _check_echo(name, answer, checksum)

    async def put_blobs(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
        """Over one connection, which the event loop serves; the first with an MD5 is left to ``put_blob``."""
        try:
            await self._authorize()
            answers = await self._lines.ask_each(self._puts(blobs, is_wanted))
        except (IngestError, WireTrouble):
            return 0
        for number, answer in enumerate(answers):
            if answer.status != CREATED or not _is_echo(answer, blobs[number].crc64):
                return number
        return len(answers)

    def _puts(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> Iterator[Request]:
        for name, body, crc64, attributes in blobs:
            if attributes.content_md5 is not None or not is_wanted():
                return
            length = rules.check_put(body)
            try:
                rules.check_attributes(name, attributes)
            except BlobRequestFailed:
                return
            yield self._heads.put_blob(name, length, crc64, attributes, replace=False), body

    async def put_block(self, name: BlobName, block_id: str, body: Body, crc64: int) -> None:
        """Stage one block."""
        rules.check_block(body)
        self._id_lengths.check(name, block_id)
        await self._authorize()
        head = self._heads.put_block(name, block_id, rules.body_length(body), crc64)
        _check_echo(name, await self._sent(name, head, body), crc64)

    async def put_block_list(
        self, name: BlobName, block_ids: Sequence[str], attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """Commit blocks, the staged one of an id before the committed one."""
        rules.check_block_list(block_ids)
        rules.check_attributes(name, attributes)
        text = block_list(block_ids)
        await self._authorize()
        head = self._heads.put_block_list(name, len(text), crc64_of([text]), attributes, replace=replace)
        await self._sent(name, head, [memoryview(text)], replace=replace)
        self._id_lengths.forget(name)

    async def put_page(self, name: BlobName, offset: int, body: Body, crc64: int) -> None:
        """Write pages."""
        rules.check_pages(offset, body)
        await self._authorize()
        head = self._heads.put_page(name, offset, rules.body_length(body), crc64)
        _check_echo(name, await self._sent(name, head, body), crc64)

    async def create_page_blob(
        self, name: BlobName, size_bytes: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """A page blob of zeros."""
        await self._sdk.create_page_blob(name, size_bytes, attributes, replace=replace)

    async def set_attributes(self, name: BlobName, attributes: BlobAttributes, *, etag: ETag) -> None:
        """Of this version."""
        await self._sdk.set_attributes(name, attributes, etag=etag)

    async def properties(self, name: BlobName) -> BlobProperties:
        """Of a committed blob; raises BlobNotFound."""
        await self._authorize()
        return properties_in(name, await self._answered(name, self._heads.properties(name)))

    async def uncommitted_blocks(self, name: BlobName) -> dict[str, int]:
        """Staged and not committed: id to length in bytes."""
        await self._authorize()
        try:
            answer = await self._answered(name, self._heads.uncommitted_blocks(name))
        except BlobNotFound:
            return {}
        staged = uncommitted_in(answer)
        return staged if staged is not None else await self._sdk.uncommitted_blocks(name)

    def read(
        self, name: BlobName, *, offset: int = 0, etag: ETag | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The content in pieces of at most 4 MiB; one ETag throughout, else BlobRequestFailed."""
        return self._sdk.read(name, offset=offset, etag=etag)

    def names(self, container: ContainerName, prefix: str = "") -> AsyncIterator[BlobName]:
        """Committed blobs whose path starts so, in the service's order."""
        return self._sdk.names(container, prefix)

    def traffic(self) -> Traffic:
        """See ``agent.blobs.traffic``; of the writes."""
        return added(self._pool.traffic(), self._lines.traffic())

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        self._lines.close()
        await self._pool.close()
        if self._opened_sdk is not None:
            await self._opened_sdk.close()
        elif self._tokens is not None:
            await self._tokens.close()

    async def _authorize(self) -> None:
        if self._tokens is not None:
            self._heads.bearer = await self._tokens.token()

    async def _answered(self, name: BlobName, head: bytes) -> Answer:
        """The answer to a question, or the error that says why there is none."""
        return await self._sent(name, head, (), expected=OK)

    async def _sent(
        self, name: BlobName, head: bytes, body: Body, *, replace: Replace = True, expected: int = CREATED
    ) -> Answer:
        """The answer to a request that was done, or the error that says why it was not."""
        error: IngestError
        try:
            answer = await self._pool.ask(head, body)
        except WireTrouble as trouble:
            error = unanswered(trouble, str(name), self._account.host)
        else:
            if answer.status == expected:
                return answer
            error = refused(answer, str(name), replace=replace)
        raise error


def _check_echo(name: BlobName, answer: Answer, crc64: int) -> None:
    """A server that ignores the header still says what it computed."""
    if not _is_echo(answer, crc64):
        raise ChecksumMismatch(f"{name}: the store computed another CRC-64 of the body")


def _is_echo(answer: Answer, crc64: int) -> bool:
    """Whether the server computed the same CRC-64, as far as it says."""
    echoed = answer.headers.get(CRC64_HEADER)
    return echoed is None or echoed == header(crc64)
