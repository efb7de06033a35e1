"""The account of the laboratory: what it remembers of those who ask, and that it outlives a stop."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.storage.blob import BlobBlock, BlobServiceClient

from fixtures import azurite
from tests.lab.scene_store import Store

BLOCK = bytes(range(256)) * 1024


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("account"))
    try:
        made.start()
    except azurite.AzuriteMissing as missing:
        pytest.skip(str(missing))
    yield made
    made.close()


@pytest.fixture
def guest(store: Store) -> Iterator[BlobServiceClient]:
    """Who knows the relay alone."""
    address = f"http://127.0.0.1:{store.relay.port}/{azurite.ACCOUNT}"
    with BlobServiceClient(
        address, credential=azurite.KEY, api_version="2021-12-02", retry_total=0
    ) as client:
        yield client


def test_each_block_that_was_taken_is_told_as_often_as_it_was(store: Store, guest: BlobServiceClient) -> None:
    guest.create_container("twice")
    blob = guest.get_blob_client("twice", "a folder/film 1.mp4")
    for name in ("0", "1", "1"):
        blob.stage_block(name, BLOCK)
    blob.commit_block_list([BlobBlock("0"), BlobBlock("1")])
    told = store.stored("twice")
    assert {(one.blob, one.body_bytes) for one in told} == {("a folder/film 1.mp4", len(BLOCK))}
    first, second, third = (one.block_id for one in told)
    assert first != second == third
    assert store.digests("twice") == {"a folder/film 1.mp4": hashlib.sha256(BLOCK * 2).hexdigest()}
    assert [one.verb for one in store.relay.asked("twice")] == ["container", *["block"] * 3, "blocklist"]


def test_what_was_refused_is_not_told_as_stored(store: Store, guest: BlobServiceClient) -> None:
    with pytest.raises(HttpResponseError):
        guest.get_blob_client("nowhere", "note").upload_blob(b"text")
    assert store.stored("nowhere") == []
    assert [one.status for one in store.relay.asked("nowhere")] == [404]
    assert store.digests("nowhere") == {}


def test_it_is_away_while_it_is_stopped_and_has_all_that_it_had_afterwards(
    store: Store, guest: BlobServiceClient
) -> None:
    guest.create_container("kept")
    note = guest.get_blob_client("kept", "note")
    note.upload_blob(b"text")
    store.stop()
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        note.get_blob_properties()
    store.start()
    assert note.download_blob().readall() == b"text"
    assert list(store.digests("kept")) == ["note"]
