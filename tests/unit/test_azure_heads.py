"""Heads of requests, held against what the SDK would sign for the same request."""

from __future__ import annotations

import base64
import hashlib
from unittest.mock import patch
from urllib.parse import unquote, urlsplit

import pytest
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy
from hypothesis import given
from hypothesis import strategies as st

from agent.blobs.azure_account import Account, right_of
from agent.blobs.store import NO_ATTRIBUTES, ETag, Replace
from agent.blobs.wire.dial import Proxy, Route, tls_context
from agent.blobs.wire.heads import Heads, block_list
from agent.model.blobs import BlobAttributes, BlobName, illegal
from agent.model.identity import ContainerName
from agent.model.secrets import Secret

KEY = base64.b64encode(b"an account key of thirty-two byte").decode()
VERSION = ETag('"0x8DBD5A2C0D7F0A1"')
SAS = "?sv=2024-11-04&sp=rw&sig=abc%2Bdef%3D"
VERSION = "2024-11-04"
ENDPOINTS = [
    "https://acct.blob.core.windows.net",
    "https://acct.blob.core.usgovcloudapi.net",
    "http://127.0.0.1:10000/acct",
]

EVERYTHING = BlobAttributes(
    content_type="text/html; charset=utf-8",
    content_encoding="gzip",
    content_language="de",
    cache_control="no-cache",
    content_md5=hashlib.md5(b"").digest(),
    metadata={
        "Zeta": "1",
        "_under": "a, b",
        "a1": "Zoë",
        "a_b": "",
        "aB0": "x",
        "mtime": "2024",
        "m_time": "y",
    },
)


def heads(endpoint: str, credential: str, route: Route | None = None) -> Heads:
    account = Account.of(endpoint)
    way = route or Route(account.host, 443, None)
    return Heads(account, right_of(account, Secret(credential)), way, VERSION)


def named(path: str, container: str = "container") -> BlobName:
    return BlobName.of(ContainerName.parse(container), path)


def parsed(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    text = head.decode("ascii")
    assert text.endswith("\r\n\r\n")
    line, *rest = text[:-4].split("\r\n")
    pairs = [tuple(each.split(": ", 1)) for each in rest]
    assert len({key.lower() for key, _ in pairs}) == len(pairs)
    verb, target, version = line.split(" ")
    assert (verb, version) == ("PUT", "HTTP/1.1")
    return target, [(key, value) for key, value in pairs]


def authorization_by_the_sdk(endpoint: str, target: str, headers: list[tuple[str, str]]) -> str:
    """What the SDK would put there."""
    parts = urlsplit(endpoint)
    sent = {key: value for key, value in headers if key not in ("Authorization", "Host", "User-Agent")}
    request = HttpRequest("PUT", f"{parts.scheme}://{parts.netloc}{target}", headers=sent)
    SharedKeyCredentialPolicy("acct", KEY).on_request(PipelineRequest(request, PipelineContext(None)))
    return str(request.headers["Authorization"])


def assert_signed(endpoint: str, head: bytes) -> None:
    target, headers = parsed(head)
    assert dict(headers)["Authorization"] == authorization_by_the_sdk(endpoint, target, headers)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("attributes", [NO_ATTRIBUTES, EVERYTHING], ids=["bare", "everything"])
@pytest.mark.parametrize("path", ["a/b.bin", "Straße/100% + &c?.bin", "x" * 1024])
def test_every_write_is_signed_as_the_sdk_signs_it(
    endpoint: str, attributes: BlobAttributes, path: str
) -> None:
    made, name = heads(endpoint, KEY), named(path)
    assert_signed(endpoint, made.put_blob(name, 0, 5, attributes, replace=False))
    assert_signed(endpoint, made.put_blob(name, 10, None, attributes, replace=True))
    assert_signed(endpoint, made.put_blob(name, 10, None, attributes, replace=VERSION))
    assert_signed(endpoint, made.put_block_list(name, 99, 7, attributes, replace=VERSION))
    assert_signed(endpoint, made.put_block(name, "gP/+AAAA", 4 << 20, 2**64 - 1))
    assert_signed(endpoint, made.put_block_list(name, 99, 7, attributes, replace=False))
    assert_signed(endpoint, made.put_page(name, 512, 1024, 3))


paths = st.text(min_size=1, max_size=40).filter(lambda path: illegal(path) is None)
keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
values = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


@given(
    path=paths,
    metadata=st.dictionaries(keys, values, max_size=6),
    is_signed=st.booleans(),
    replace=st.booleans() | st.just(VERSION),
)
def test_any_name_and_metadata_make_a_head_of_lines_that_was_signed(
    path: str, metadata: dict[str, str], is_signed: bool, replace: Replace
) -> None:
    metadata = {key: value for key, value in metadata.items() if not _has_double(key, metadata)}
    made = heads(ENDPOINTS[0], KEY if is_signed else SAS)
    head = made.put_blob(named(path), 3, 1, BlobAttributes(metadata=metadata), replace=replace)
    target, headers = parsed(head)
    assert unquote(urlsplit(target).path) == f"/container/{path}"
    assert sum(key.startswith("x-ms-meta-") for key, _ in headers) == len(metadata)
    if is_signed:
        assert_signed(ENDPOINTS[0], head)


def _has_double(key: str, metadata: dict[str, str]) -> bool:
    return any(other != key and other.lower() == key.lower() for other in metadata)


def test_names_are_percent_encoded_and_slashes_stay() -> None:
    target, _ = parsed(
        heads(ENDPOINTS[0], SAS).put_blob(named("a//b/ü %?#+~.bin"), 0, 0, NO_ATTRIBUTES, replace=True)
    )
    assert target == "/container/a//b/%C3%BC%20%25%3F%23%2B~.bin?sv=2024-11-04&sp=rw&sig=abc%2Bdef%3D"


def test_a_path_style_account_stands_in_the_target_and_twice_in_what_is_signed() -> None:
    head = heads(ENDPOINTS[2], KEY).put_block(named("b"), "AAAA", 1, 0)
    assert parsed(head)[0] == "/acct/container/b?blockid=AAAA&comp=block"
    with patch("agent.blobs.wire.heads.hmac.digest", return_value=b"") as digest:
        heads(ENDPOINTS[2], KEY).put_block(named("b"), "AAAA", 1, 0)
    assert b"\n/acct/acct/container/b\nblockid:AAAA\ncomp:block" in digest.call_args[0][1]


def test_a_sas_is_sent_as_it_is_and_neither_date_nor_signature_are_added() -> None:
    target, headers = parsed(heads(ENDPOINTS[0], SAS).put_block(named("b"), "gP/+AAAA", 1, 0))
    assert target == "/container/b?blockid=gP%2F%2BAAAA&comp=block&sv=2024-11-04&sp=rw&sig=abc%2Bdef%3D"
    assert {key.lower() for key, _ in headers}.isdisjoint({"authorization", "x-ms-date"})


def test_a_sas_with_line_breaks_and_blanks_makes_no_lines() -> None:
    target, _ = parsed(heads(ENDPOINTS[0], "sv=1&st=a b\r\nX: y&sig=ü").put_block(named("b"), "AAAA", 1, 0))
    assert target.endswith("&sv=1&st=a%20b%0D%0AX:%20y&sig=%C3%BC")


def test_another_credential_is_used_from_then_on() -> None:
    made = heads(ENDPOINTS[0], SAS)
    made.use(None)
    made.bearer = "a-token"
    target, headers = parsed(made.put_block(named("b"), "AAAA", 1, 0))
    assert target == "/container/b?blockid=AAAA&comp=block"
    assert dict(headers)["Authorization"] == "Bearer a-token"
    assert dict(headers)["x-ms-date"].endswith(" GMT")
    made.use(right_of(Account.of(ENDPOINTS[0]), Secret(KEY)))
    assert_signed(ENDPOINTS[0], made.put_block(named("b"), "AAAA", 1, 0))
    made.use(None)
    assert "Authorization" not in dict(parsed(made.put_block(named("b"), "AAAA", 1, 0))[1])


def test_a_condition_stands_on_commits_and_not_on_blocks() -> None:
    made = heads(ENDPOINTS[0], SAS)
    only_new = ("If-None-Match", "*")
    assert only_new in parsed(made.put_blob(named("b"), 1, 0, NO_ATTRIBUTES, replace=False))[1]
    assert only_new in parsed(made.put_block_list(named("b"), 1, 0, NO_ATTRIBUTES, replace=False))[1]
    assert only_new not in parsed(made.put_block_list(named("b"), 1, 0, NO_ATTRIBUTES, replace=True))[1]
    assert only_new not in parsed(made.put_block(named("b"), "AAAA", 1, 0))[1]


def test_a_block_list_names_the_latest_block_of_each_id_in_order() -> None:
    assert block_list(["BBBB", "AA+/"]) == (
        b'<?xml version="1.0" encoding="utf-8"?>\n'
        b"<BlockList><Latest>BBBB</Latest><Latest>AA+/</Latest></BlockList>"
    )


def test_nothing_that_holds_a_credential_shows_it() -> None:
    proxy = Proxy.of("http://user:Canary@host:3128")
    route = Route("host", 80, None, proxy)
    shown = (
        f"{heads(ENDPOINTS[0], KEY, route)!r} {heads(ENDPOINTS[0], SAS, route)!r} {proxy!r} {route!r} {route}"
    )
    for secret in (KEY, "abc%2Bdef", "Canary", base64.b64encode(b"user:Canary").decode()):
        assert secret not in shown


def test_tls_is_1_2_at_least_checks_certificates_and_speaks_http_1_1() -> None:
    context = tls_context()
    assert context.minimum_version.name == "TLSv1_2"
    assert (context.verify_mode.name, context.check_hostname) == ("CERT_REQUIRED", True)


def test_only_the_version_that_is_to_be_replaced_is_matched() -> None:
    made = heads(ENDPOINTS[0], SAS)
    for head in (
        made.put_blob(named("b"), 1, 0, NO_ATTRIBUTES, replace=VERSION),
        made.put_block_list(named("b"), 1, 0, NO_ATTRIBUTES, replace=VERSION),
    ):
        conditions = [(key, value) for key, value in parsed(head)[1] if key.startswith("If-")]
        assert conditions == [("If-Match", VERSION)]
