"""The null sink counts what it is sent, and the benchmark of transports comes to its table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.blobs.azure import AzureBlobStore
from agent.blobs.crc64 import crc64
from agent.blobs.store import NO_ATTRIBUTES
from agent.errors import BlobNotFound
from agent.model.blobs import BlobName
from agent.model.secrets import Secret
from benchmarks.sink import Sink, SinkMissing, running
from benchmarks.transport import SAS, main
from fixtures.certificates import make

NAME = BlobName.parse("bench/folder 1/blob.bin")


@pytest.fixture(params=["plain", "tls"])
def sink(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    certificates = make(tmp_path) if request.param == "tls" else None
    if certificates is not None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    try:
        with running(certificates) as started:
            yield started
    except SinkMissing as reason:
        pytest.skip(str(reason))


async def test_a_block_that_is_sent_twice_is_in_the_sink_once(sink: Sink) -> None:
    store = AzureBlobStore.connect(sink.endpoint, Secret(SAS))
    sink.figures("bench")
    data = bytes(100_000)
    try:
        for block_id in ("AAAA", "AAAB", "AAAA"):
            await store.put_block(NAME, block_id, [memoryview(data)], crc64([data]))
        await store.put_block_list(NAME, ["AAAA", "AAAB"], NO_ATTRIBUTES, replace=False)
    finally:
        await store.close()
    figures = sink.figures()
    assert (figures.blobs, figures.blob_bytes, figures.requests) == (1, 200_000, 4)


async def test_the_sink_counts_requests_and_bytes_and_knows_the_size_of_what_it_dropped(sink: Sink) -> None:
    store = AzureBlobStore.connect(sink.endpoint, Secret(SAS))
    data = bytes(300_000)
    try:
        await store.ensure_container(NAME.container)
        with pytest.raises(BlobNotFound):
            await store.properties(NAME)
        for block_id in ("AAAA", "AAAB"):
            await store.put_block(NAME, block_id, [memoryview(data)], crc64([data]))
        with pytest.raises(BlobNotFound):
            await store.properties(NAME)
        await store.put_block_list(NAME, ["AAAA", "AAAB"], NO_ATTRIBUTES, replace=False)
        assert (await store.properties(NAME)).size_bytes == 600_000
    finally:
        await store.close()
    figures = sink.figures()
    assert figures.requests == 3
    assert 600_000 < figures.body_bytes < 601_000
    assert figures.span_s > 0
    assert (sink.figures().requests, sink.figures().body_bytes) == (0, 0)


def test_the_benchmark_prints_a_row_for_each_way_store_and_number_of_connections(sink: Sink) -> None:
    way = "tls" if sink.is_tls else "plain"
    done = CliRunner().invoke(
        main,
        ["--rounds", "1", "--blocks", "2", "--files", "5", "--connections", "1,2", "--ways", way],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    head, _, *rows = done.output.strip().splitlines()
    assert "cpu-s/GB" in head
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:3] for row in cells] == [
        [way, store, count] for count in ("1", "2") for store in ("sdk", "wire")
    ]
    assert all(float(cell.replace(",", "")) > 0 for row in cells for cell in (row[3], row[5]))
