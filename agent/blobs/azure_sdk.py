"""Azure Blob storage, all by the SDK ``azure-storage-blob``."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

import aiohttp
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobBlock
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from agent.blobs import rules
from agent.blobs.azure_account import (
    API_VERSION,
    CONNECT_TIMEOUT_S,
    CONNECTIONS,
    READ_TIMEOUT_S,
    Account,
    AccountKey,
    SharedSignature,
    right_of,
)
from agent.blobs.azure_sdk_errors import asked, service_code
from agent.blobs.azure_wire import (
    CRC64_HEADER,
    BlockId,
    SlicingTransport,
    attributes_of,
    check_echo,
    condition,
    content_settings_of,
    etag_of,
    headers_of,
    slices,
    tier_of,
    with_base64_names,
)
from agent.blobs.crc64 import header
from agent.blobs.entra import Tokens
from agent.blobs.store import BlobProperties, Body, ETag, NewBlob, Replace, put_each
from agent.blobs.wire.dial import tls_context
from agent.errors import BlobNotFound, BlobRequestFailed, StoreRefused
from agent.model.blobs import BlobAttributes, BlobName
from agent.model.codes import BlobType
from agent.model.identity import ContainerName
from agent.model.secrets import Secret

T = TypeVar("T")


def open_service(
    account: Account,
    right: AzureNamedKeyCredential | AzureSasCredential | Tokens | None,
    tls: ssl.SSLContext,
    *,
    connections: int,
    connect_timeout_s: float,
    read_timeout_s: float,
) -> BlobServiceClient:
    """The SDK, without retries and redirects, and without its log. Within a running event loop."""
    # Its records show addresses and answers; what matters of them is in our errors.
    logging.getLogger("azure").setLevel(logging.CRITICAL + 1)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=True,
    )
    return BlobServiceClient(
        account.endpoint,
        right,
        transport=SlicingTransport(
            session=session, connection_timeout=connect_timeout_s, read_timeout=read_timeout_s
        ),
        api_version=API_VERSION,
        retry_total=0,
        permit_redirects=False,
        logging_enable=False,
        max_single_put_size=rules.MAX_PUT_BYTES,
        max_single_get_size=rules.READ_PIECE_BYTES,
        max_chunk_get_size=rules.READ_PIECE_BYTES,
    )


def sdk_right(
    account: Account, credential: Secret | Tokens | None
) -> AzureNamedKeyCredential | AzureSasCredential | Tokens | None:
    """What the SDK takes for the credential. Raises ConfigInvalid."""
    if isinstance(credential, Tokens):
        return credential
    match right_of(account, credential):
        case AccountKey(name, key):
            return AzureNamedKeyCredential(name, base64.b64encode(key).decode("ascii"))
        case SharedSignature(query):
            return AzureSasCredential(query)
        case None:
            return None


class SdkBlobStore:
    """See ``agent.blobs.store.BlobStore``. A request costs about a millisecond of processor time.

    Metadata values that a header cannot carry are stored percent-encoded (see
    ``rules.encode_metadata``), and decoded by ``properties``. Made within a running event loop.
    """

    def __init__(self, account: Account, service: BlobServiceClient, tokens: Tokens | None = None) -> None:
        """Use ``connect``."""
        self._account = account
        self._tokens = tokens
        self._service = service
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
        tls: ssl.SSLContext | None = None,
    ) -> SdkBlobStore:
        """See ``agent.blobs.azure.AzureBlobStore.connect``; ``tls`` is one that there is already."""
        account = Account.of(endpoint)
        service = open_service(
            account,
            sdk_right(account, credential),
            tls or tls_context(),
            connections=connections,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
        )
        return cls(account, service, credential if isinstance(credential, Tokens) else None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._account.endpoint!r})"

    def url(self, name: BlobName) -> str:
        """The blob's address, without any credential."""
        return self._account.url(name)

    async def ensure_container(self, container: ContainerName) -> None:
        """Make the container unless it is there.

        A SAS for one container may not make it; when its creation is refused, it is enough that it
        answers for a blob in it.
        """
        try:
            await self._ask(self._create_container(container), container)
        except StoreRefused as refused:
            if not await self._ask(self._container_answers(container), container):
                raise refused from None

    async def _create_container(self, container: ContainerName) -> None:
        try:
            await self._service.create_container(str(container))
        except HttpResponseError as said:
            if service_code(said) != "ContainerAlreadyExists":
                raise

    async def _container_answers(self, container: ContainerName) -> bool:
        probe = self._service.get_blob_client(str(container), "ingest-agent-probe")
        try:
            await probe.get_blob_properties()
        except ResourceNotFoundError as said:
            return service_code(said) == "BlobNotFound"
        return True

    async def put_blob(
        self, name: BlobName, body: Body, crc64: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """A whole block blob in one request; at most 256 MiB. The body is joined, once."""
        rules.check_put(body)
        rules.check_attributes(name, attributes)
        if attributes.content_md5 is not None:
            # The service takes one checksum of a body, and checks this MD5: it stands in for the CRC-64.
            await asyncio.to_thread(rules.check_crc64, name, body, crc64)
            checksum = {}
        else:
            checksum = {CRC64_HEADER: header(crc64)}
        await self._ask(
            self._client(name).upload_blob(
                b"".join(body),
                overwrite=True,
                headers=checksum,
                standard_blob_tier=tier_of(attributes),
                content_settings=content_settings_of(attributes),
                metadata=headers_of(attributes.metadata),
                **condition(replace),
            ),
            name,
            replace=replace,
        )

    async def put_blobs(self, blobs: Sequence[NewBlob], is_wanted: Callable[[], bool]) -> int:
        """One by one."""
        return await put_each(self, blobs, is_wanted)

    async def put_block(self, name: BlobName, block_id: str, body: Body, crc64: int) -> None:
        """Stage one block; the body is not copied here."""
        rules.check_block(body)
        self._id_lengths.check(name, block_id)
        async with aclosing(slices(body)) as outgoing:
            answer = await self._ask(
                self._client(name).stage_block(
                    BlockId(block_id),
                    outgoing,  # type: ignore[arg-type]  # the SDK passes it on as it is
                    length=rules.body_length(body),
                    headers={CRC64_HEADER: header(crc64)},
                ),
                name,
            )
        check_echo(name, answer, crc64)

    async def put_block_list(
        self, name: BlobName, block_ids: Sequence[str], attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """Commit blocks, the staged one of an id before the committed one."""
        rules.check_block_list(block_ids)
        rules.check_attributes(name, attributes)
        await self._ask(
            self._client(name).commit_block_list(
                [BlobBlock(BlockId(block_id)) for block_id in block_ids],
                standard_blob_tier=tier_of(attributes),
                content_settings=content_settings_of(attributes),
                metadata=headers_of(attributes.metadata),
                **condition(replace),
            ),
            name,
            replace=replace,
        )
        self._id_lengths.forget(name)

    async def create_page_blob(
        self, name: BlobName, size_bytes: int, attributes: BlobAttributes, *, replace: Replace
    ) -> None:
        """A page blob of zeros."""
        rules.check_page_blob_size(size_bytes)
        rules.check_page_attributes(name, attributes)
        await self._ask(
            self._client(name).create_page_blob(
                size_bytes,
                content_settings=content_settings_of(attributes),
                metadata=headers_of(attributes.metadata),
                **condition(replace),
            ),
            name,
            replace=replace,
        )

    async def put_page(self, name: BlobName, offset: int, body: Body, crc64: int) -> None:
        """Write pages."""
        rules.check_pages(offset, body)
        answer = await self._ask(
            self._client(name).upload_page(
                b"".join(body),
                offset=offset,
                length=rules.body_length(body),
                headers={CRC64_HEADER: header(crc64)},
            ),
            name,
        )
        check_echo(name, answer, crc64)

    async def set_attributes(self, name: BlobName, attributes: BlobAttributes, *, etag: ETag) -> None:
        """Of this version."""
        rules.check_attributes(name, attributes)
        client, settings = self._client(name), content_settings_of(attributes)
        settings.content_type = attributes.content_type or rules.DEFAULT_CONTENT_TYPE
        said = await self._ask(client.set_http_headers(settings, **condition(etag)), name, replace=etag)
        between = ETag(str(said["etag"]))
        metadata = headers_of(attributes.metadata)
        await self._ask(client.set_blob_metadata(metadata, **condition(between)), name, replace=etag)

    async def properties(self, name: BlobName) -> BlobProperties:
        """Of a committed blob; raises BlobNotFound."""
        found = await self._ask(self._client(name).get_blob_properties(), name)
        try:
            kind = BlobType(str(getattr(found.blob_type, "value", found.blob_type)))
        except ValueError:
            raise BlobRequestFailed(
                f"{name}: neither a block blob nor a page blob (InvalidBlobType)"
            ) from None
        return BlobProperties(found.size, kind, etag_of(name, found), attributes_of(found))

    async def uncommitted_blocks(self, name: BlobName) -> dict[str, int]:
        """Staged and not committed: id to length in bytes."""
        try:
            _, staged = await self._ask(
                self._client(name).get_block_list("uncommitted", cls=with_base64_names), name
            )
        except BlobNotFound:
            return {}
        return {block.id: block.size for block in staged}

    async def read(
        self, name: BlobName, *, offset: int = 0, etag: ETag | None = None
    ) -> AsyncGenerator[bytes, None]:
        """The content in pieces of at most 4 MiB; one ETag throughout, else BlobRequestFailed."""
        options = condition(etag) if etag is not None else {}
        if offset:
            options["offset"] = offset
        try:
            stream = await self._ask(self._client(name).download_blob(decompress=False, **options), name)
        except BlobRequestFailed:
            # At the end of a blob, too, a range is refused.
            found = await self.properties(name) if offset else None
            if found is None or found.size_bytes != offset or etag not in (None, found.etag):
                raise
            return
        pieces = stream.chunks()
        while (piece := await self._ask(anext(pieces, None), name)) is not None:
            yield piece

    async def names(self, container: ContainerName, prefix: str = "") -> AsyncIterator[BlobName]:
        """Committed blobs whose path starts so, in the service's order."""
        client = self._service.get_container_client(str(container))
        paths = aiter(client.list_blob_names(name_starts_with=prefix or None))
        try:
            while (path := await self._ask(anext(paths, None), container)) is not None:
                yield BlobName(container, path)
        except BlobNotFound:
            return

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        await self._service.close()
        if self._tokens is not None:
            await self._tokens.close()

    def _client(self, name: BlobName) -> BlobClient:
        return self._service.get_blob_client(str(name.container), name.path)

    async def _ask(
        self, request: Awaitable[T], subject: BlobName | ContainerName, *, replace: Replace = True
    ) -> T:
        return await asked(request, str(subject), self._account.host, replace=replace)
