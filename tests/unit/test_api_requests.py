"""Queries of lists, papers of jobs, and the settings of the API."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from agent.api.desk import DRIVE_VERBS, JOB_VERBS
from agent.api.envelope import canonical_path
from agent.api.openapi import document
from agent.api.paging import MAX_TOP, next_link, read_page
from agent.api.problems import ArmError
from agent.api.routes import Api
from agent.config.api import ApiSettings, read_api
from agent.errors import ConfigInvalid
from agent.model.papers import NO_PAPERS, Address, Package, Papers, ReturnShipping
from agent.model.roles import RIGHTS, Right, Role
from agent.model.states import JobState

LOCATION = {
    "name": "West US",
    "recipient_name": "Ingest desk",
    "street_address1": "2 Dock",
    "city": "Port",
    "postal_code": "00002",
    "country_or_region": "XX",
    "phone": "1",
}
TLS = {"certificate": "/c.pem", "certificate_key": "/k.pem"}


def test_a_filter_is_read_whatever_its_case_and_order() -> None:
    page = read_page({"$filter": "TrackingNumber EQ 'it''s 1' AND state eq 'creating' and Type eq 'import'"})
    assert page.wanted.tracking_number == "it's 1"
    assert page.wanted.state is JobState.CREATING
    assert page.wanted.kind == "Import"
    assert (page.size, page.after) == (MAX_TOP, None)


@pytest.mark.parametrize(
    "text",
    [
        "x eq 1",
        "state",
        "state eq Closed",
        "state ne 'Closed'",
        "state eq 'Closed' or type eq 'Import'",
        "state eq 'Closed' and",
        "state eq 'Closed' type eq 'Import'",
        "state eq 'Closed' and state eq 'Closed'",
        "state eq 'Closed",
        "type eq 'Both'",
        "'" * 999,
        "a" * 2000,
        "\x00",
        "trackingnumber eq 'a\x00b'",
        "state eq 'Closed'\nand type eq 'Import'",
    ],
)
def test_a_filter_that_is_not_understood_says_why(text: str) -> None:
    with pytest.raises(ArmError) as refusal:
        read_page({"$filter": text})
    assert (refusal.value.status, refusal.value.target) == (400, "$filter")
    assert "it takes" in refusal.value.message


def test_the_next_page_asks_for_the_same_and_escapes_what_it_was_asked() -> None:
    query = {
        "api-version": "2021-01-01",
        "$filter": "trackingnumber eq 'a&b#c'",
        "$skiptoken": "old",
        "x": "y",
    }
    link = next_link("https://h", "/p", query, "1-2")
    assert link == (
        "https://h/p?api-version=2021-01-01&$filter=trackingnumber%20eq%20%27a%26b%23c%27&$skiptoken=1-2"
    )


def test_papers_are_kept_as_they_were() -> None:
    papers = Papers(
        subscription="s",
        resource_group="g",
        location="westus",
        tags={"a": "b", "": ""},
        storage_account="/subscriptions/x",
        client_tenant="t",
        return_address=Address("A. Person", "1 Quay", "Port", "00001", "XX", "1", "a@example.com"),
        return_shipping=ReturnShipping("FedEx", "1"),
        delivery_package=Package("FedEx", "T", 0, "8/11/2017 9:05:00 PM"),
        shipping_information={"city": "Port"},
        encryption_key={"kekType": "MicrosoftManaged"},
    )
    assert Papers.from_json(papers.to_json()) == papers
    assert Papers.from_json(NO_PAPERS.to_json()) == NO_PAPERS == Papers()


def test_papers_show_nothing_that_is_personal() -> None:
    address = Address("A. Person", "1 Quay", "Port", "00001", "XX", "1")
    for value in (
        address,
        Papers(return_address=address),
        ReturnShipping("FedEx", "Person"),
        Package("x", "Quay"),
    ):
        assert "Person" not in repr(value)
        assert "Quay" not in repr(value)


@pytest.mark.parametrize(
    "value",
    [{"other": 1}, {"returnAddress": {"city": "x"}}, {"returnAddress": 1}, {"deliveryPackage": {"a": 1}}],
)
def test_damaged_papers_are_told_as_such(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="papers"):
        Papers.from_json(value)


def test_each_role_has_less_than_the_one_before() -> None:
    assert RIGHTS[Role.OPERATOR] == set(Right)
    assert RIGHTS[Role.READER] < RIGHTS[Role.TECHNICIAN] < RIGHTS[Role.OPERATOR]
    assert Right.LIST_KEYS not in RIGHTS[Role.TECHNICIAN]


def test_the_socket_is_where_the_service_manager_says_or_with_the_state() -> None:
    state = Path("/var/lib/x")
    assert read_api({}, state, {}) == ApiSettings(socket=state / "api.sock")
    assert read_api({}, state, {"RUNTIME_DIRECTORY": "/run/x:/run/y"}).socket == Path("/run/x/api.sock")
    chosen = read_api({"socket": "/run/z.sock", "socket_role": "token"}, state, {})
    assert (chosen.socket, chosen.is_chosen, chosen.socket_role) == (Path("/run/z.sock"), True, None)
    assert read_api({"socket": ""}, state, {}).socket is None
    assert read_api({"socket": "/a"}, state, {"INGEST_AGENT_API_SOCKET": "/b"}).socket == Path("/b")


def test_tcp_comes_with_tls() -> None:
    tcp = read_api({"listen": "[::1]:8443", **TLS}, Path("/s"), {}).tcp
    assert tcp is not None
    assert (tcp.host, tcp.port) == ("::1", 8443)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"listen": "0.0.0.0:8443"}, "needs TLS"),
        ({"listen": "0.0.0.0:8443", "certificate": "/c.pem"}, "needs TLS"),
        (TLS, "go with api.listen"),
        ({"listen": "ingest.example:1", **TLS}, "ADDRESS:PORT"),
        ({"listen": "127.0.0.1", **TLS}, "ADDRESS:PORT"),
        ({"listen": "127.0.0.1:65536", **TLS}, "port"),
        ({"listen": 1}, "api.listen"),
        ({"socket": "relative"}, "api.socket"),
        ({"socket": "/" + "x" * 200}, "api.socket"),
        ({"socket_role": "king"}, "socket_role"),
        ({"public_url": "ingest.example"}, "public_url"),
        ({"colour": "red"}, "api.colour"),
        ({"location": LOCATION}, "api.location"),
        ({"location": [{"name": "West US"}]}, "api.location"),
        ({"location": [{**LOCATION, "colour": "red"}]}, "colour"),
        ({"location": [LOCATION, {**LOCATION, "name": "westus"}]}, "twice"),
        ({"location": [{**LOCATION, "name": "a/b"}]}, "name"),
        ({"location": [{**LOCATION, "supported_carriers": "FedEx"}]}, "supported_carriers"),
        ([], "api must be a table"),
    ],
)
def test_a_setting_that_cannot_be_is_named(table: Any, named: str) -> None:
    with pytest.raises(ConfigInvalid, match=named):
        read_api(table, Path("/s"), {})


CHECKOUT = Path(__file__).parents[2]


def test_every_code_and_every_verb_stands_in_the_document() -> None:
    told = (CHECKOUT / "docs/api.md").read_text("utf-8")
    sources = "".join(path.read_text("utf-8") for path in (CHECKOUT / "agent/api").glob("*.py"))
    codes = set(re.findall(r'ArmError\(\s*[0-9]{3},\s*"(\w+)"', sources))
    assert len(codes) > 15
    assert [code for code in [*codes, *JOB_VERBS, *DRIVE_VERBS, *Role] if f"`{code}`" not in told] == []


def test_every_setting_of_the_api_stands_in_the_document() -> None:
    told = (CHECKOUT / "docs/configuration.md").read_text("utf-8")
    with pytest.raises(ConfigInvalid) as refusal:
        read_api({"colour": "red"}, Path("/s"), {})
    names = refusal.value.detail.partition("known are ")[2].split(", ")
    assert len(names) > 5
    assert [name for name in names if f"`api.{name}`" not in told] == []


def test_what_is_described_is_what_is_served() -> None:
    served = {
        (canonical_path(re.sub(r"\{\w+\}", "{}", route.path)), method)
        for route in Api(None, ApiSettings(), None).app().routes  # type: ignore[arg-type]
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {
        (re.sub(r"\{\w+\}", "{}", path), method.upper())
        for path, operations in document()["paths"].items()
        for method in operations
    }
    assert served == described
