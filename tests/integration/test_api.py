"""The job API over real sockets: who may do what, and what becomes of everything that is wrong."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.certificates import Certificates, make
from tests.kit import killing
from tests.kit.api import ADDRESS, GROUP, KEY, SUBSCRIPTION, Server, group_path, job_path, put_body, serving

VERSION = "?api-version=2021-01-01"
SHIP = {"state": "Shipping", "deliveryPackage": {"carrierName": "FedEx", "trackingNumber": "TRK1"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("api"), certificates) as found:
        yield found


def _file(server: Server, job: str, **properties: Any) -> None:
    answer = server.of_job("PUT", job, put_body(f"S-{job}", **properties))
    assert answer.status == 201, answer.body


def test_the_socket_belongs_to_its_user_and_group_alone(server: Server) -> None:
    mode = server.socket.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660


def test_who_opens_the_socket_stands_in_the_history(server: Server) -> None:
    _file(server, "by-socket")
    (event,) = server.of_job("GET", "by-socket", rest="/history").body["value"]
    assert (event["what"], event["origin"]) == ("job.create", "api unix")
    assert event["who"] == pwd.getpwuid(os.getuid()).pw_name


def test_who_comes_with_a_token_stands_in_the_history(server: Server) -> None:
    server.of_job("PUT", "by-token", put_body("S-by-token"), token=server.token("operator"))
    (event,) = server.of_job("GET", "by-token", rest="/history").body["value"]
    assert (event["who"], event["origin"]) == ("operator", "api 127.0.0.1")


def test_over_tcp_there_is_no_way_without_tls(server: Server) -> None:
    port = int(server.base_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            said = plain.recv(100)
        except ConnectionError:
            said = b""
    assert b"HTTP" not in said


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer dia_000000000000_" + "x" * 43, "Basic eDp5", "Bearer \u00e9"]
)
def test_without_a_good_token_everything_is_refused(server: Server, value: str) -> None:
    headers = {"Authorization": value.encode()}
    answer = _over_tls(server, "GET", "/openapi.json", headers)
    assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 429 "))
    assert b"AuthenticationFailed" in answer or b"TooManyRequests" in answer


def _over_tls(server: Server, method: str, path: str, headers: dict[str, bytes]) -> bytes:
    context = ssl.create_default_context(cafile=server.certificates.authority)
    port = int(server.base_url.rpartition(":")[2])
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: 127.0.0.1", b"Connection: close"]
    lines += [name.encode() + b": " + value for name, value in headers.items()]
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        wrapped.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        return _all(wrapped)


def _all(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_role_may_do_what_it_may_and_nothing_else(server: Server) -> None:
    _file(server, "roles", returnAddress=ADDRESS)
    order = ("get", "put", "patch", "keys", "hand", "decide", "delete")
    expected = {
        "reader": (200, 403, 403, 403, 403, 403, 403),
        "technician": (200, 403, 403, 403, 409, 403, 403),
        "operator": (200, 200, 200, 200, 409, 400, 200),
    }
    for role, wanted in expected.items():
        token = server.token(role)
        asked = {
            "get": ("GET", "", None),
            "put": ("PUT", "", put_body("S-roles")),
            "patch": ("PATCH", "", {"tags": {"a": "b"}}),
            "keys": ("POST", "/listBitLockerKeys", None),
            "hand": ("POST", "/drives/S-roles/receive", None),
            "decide": ("POST", "/fault", {"note": 1}),
            "delete": ("DELETE", "", None),
        }
        found = {
            name: server.of_job(method, "roles", body, rest=rest, token=token).status
            for name, (method, rest, body) in asked.items()
        }
        assert found == dict(zip(order, wanted, strict=True)), role


def test_a_technician_sees_no_key_and_nothing_that_leads_to_content(server: Server) -> None:
    _file(server, "hidden", destination="secret-container/secret/")
    for rest in ("", "/history"):
        shown = str(server.of_job("GET", "hidden", rest=rest, token=server.token("technician")).body)
        assert "S-hidden" in shown or rest
        assert "secret" not in shown
        assert "manifest" not in shown.replace("backupDriveManifest", "").lower()
        assert KEY not in shown
    assert "secret" in str(server.of_job("GET", "hidden", token=server.token("reader")).body)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/", 404, "ResourceNotFound"),
        ("/nothing", 404, "ResourceNotFound"),
        ("//", 404, "ResourceNotFound"),
        (group_path() + "/jobs", 400, "MissingApiVersionParameter"),
        (group_path() + "/jobs?api-version=", 400, "MissingApiVersionParameter"),
        (group_path() + "/jobs?api-version=2015-01-01", 400, "InvalidApiVersionParameter"),
        (group_path() + f"/jobs{VERSION}&$top=0", 400, "InvalidQueryParameter"),
        (group_path() + f"/jobs{VERSION}&$top=101", 400, "InvalidQueryParameter"),
        (group_path() + f"/jobs{VERSION}&$top=x", 400, "InvalidQueryParameter"),
        (group_path() + f"/jobs{VERSION}&$skiptoken=x", 400, "InvalidQueryParameter"),
        (group_path() + f"/jobs{VERSION}&$skiptoken=9999999999999999999-1", 400, "InvalidQueryParameter"),
        (group_path() + f"/jobs{VERSION}&$filter=state%20eq%20'Lost'", 400, "InvalidQueryParameter"),
        (group_path() + f"/jobs{VERSION}&$filter=state%20eq%20'Closed'%20and", 400, "InvalidQueryParameter"),
        (group_path() + f"/jobs{VERSION}&$filter=%FF", 400, "InvalidQueryParameter"),
        (job_path("none"), 404, "ResourceNotFound"),
        (job_path("-"), 404, "ResourceNotFound"),
        (job_path("a%2Fb"), 405, "MethodNotAllowed"),
        (job_path("%00"), 404, "ResourceNotFound"),
        (
            f"/subscriptions/a%20b/providers/Microsoft.ImportExport/jobs{VERSION}",
            400,
            "InvalidSubscriptionId",
        ),
        (
            f"/subscriptions/a/resourceGroups/x./providers/Microsoft.ImportExport/jobs{VERSION}",
            400,
            "InvalidResourceGroupName",
        ),
        (f"/providers/Microsoft.Storage/operations{VERSION}", 404, "ResourceNotFound"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_reason(
    server: Server, path: str, status: int, code: str
) -> None:
    answer = server.ask("GET", path)
    assert (answer.status, answer.code) == (status, code)
    assert answer.message


@pytest.mark.parametrize(
    ("body", "target"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (b'{"properties": 1}', "properties"),
        (b"{}", "properties"),
        (b'{"properties": {}}', "properties.driveList"),
        (put_body(), "properties.driveList"),
        (put_body("S", "S"), "properties.driveList[1].driveId"),
        (put_body(*map(str, range(11))), "properties.driveList"),
        (put_body("S", key=None), "properties.driveList[0].bitLockerKey"),
        (put_body("S", key="1-2"), None),
        (put_body("\u00e9"), "properties.driveList[0].driveId"),
        (put_body("S", jobType="Export"), "properties.jobType"),
        (put_body("S", state="Closed"), "properties.state"),
        (put_body("S", cancelRequested=True), "properties.cancelRequested"),
        (put_body("S", logLevel="Loud"), "properties.logLevel"),
        (put_body("S", logLevel=1), "properties.logLevel"),
        (put_body("S", diagnosticsPath="A B"), "properties.diagnosticsPath"),
        (put_body("S", storageAccountId="harbour"), "properties.storageAccountId"),
        (put_body("S", returnAddress={}), "properties.returnAddress.recipientName"),
        (put_body("S", returnAddress="here"), "properties.returnAddress"),
        (put_body("S", returnShipping={"carrierName": "\n"}), "properties.returnShipping.carrierName"),
        (put_body("S", encryptionKey={"kekType": "CustomerManaged"}), "properties.encryptionKey.kekType"),
        (
            put_body("S", deliveryPackage={"carrierName": "a", "trackingNumber": "b", "driveCount": -1}),
            "properties.deliveryPackage.driveCount",
        ),
        ({**put_body("S"), "tags": {"a": 1}}, "tags.a"),
        ({**put_body("S"), "tags": []}, "tags"),
        ({**put_body("S"), "location": "Mars"}, "location"),
        (b'{"properties": {"returnAddress": {"city": "\\ud800"}}}', "properties.driveList"),
    ],
)
def test_a_malformed_job_is_refused_with_its_field(server: Server, body: Any, target: str | None) -> None:
    answer = server.of_job("PUT", "malformed", body)
    assert answer.status == (201 if body == put_body("S", key="1-2") else 400), answer.body
    if answer.status == 400:
        assert answer.code == "InvalidRequestContent"
        assert answer.body["error"].get("target") == target
    else:
        server.of_job("DELETE", "malformed")


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({"properties": {"cancelRequested": False}}, "properties.cancelRequested"),
        ({"properties": {"state": "Completed"}}, "properties.state"),
        ({"properties": {"diagnosticsPath": "other"}}, "properties.diagnosticsPath"),
        ({"properties": {"driveList": []}}, "properties.driveList"),
        ({"properties": {"backupDriveManifest": "yes"}}, "properties.backupDriveManifest"),
        ({"properties": []}, "properties"),
    ],
)
def test_a_malformed_change_is_refused_with_its_field(server: Server, body: Any, target: str) -> None:
    if server.of_job("GET", "changed").status == 404:
        _file(server, "changed")
    answer = server.of_job("PATCH", "changed", body)
    assert (answer.status, answer.body["error"].get("target")) == (400, target)


def test_an_empty_state_is_no_state(server: Server) -> None:
    _file(server, "empty-state")
    answer = server.of_job("PATCH", "empty-state", {"properties": {"state": ""}})
    assert (answer.status, answer.body["properties"]["state"]) == (200, "Creating")


def test_a_change_is_made_as_a_whole_or_not_at_all(server: Server) -> None:
    _file(server, "whole", returnAddress=None)
    answer = server.of_job("PATCH", "whole", {"tags": {"a": "b"}, "properties": SHIP})
    assert (answer.status, answer.code) == (409, "MoveRefused")
    assert "address" in answer.message.lower()
    found = server.of_job("GET", "whole").body
    assert "tags" not in found
    assert "deliveryPackage" not in found["properties"]


def test_a_job_that_is_put_anew_and_cannot_ship_is_left_as_it_was(server: Server) -> None:
    _file(server, "anew", returnAddress=None)
    before = server.of_job("GET", "anew").body
    answer = server.of_job("PUT", "anew", put_body("S-other-drive", returnAddress=None, **SHIP))
    assert (answer.status, answer.code) == (409, "MoveRefused")
    assert server.of_job("GET", "anew").body == before
    assert server.of_job("PUT", "anew", put_body("S-other-drive", **SHIP)).status == 200
    shipped = server.of_job("GET", "anew").body["properties"]
    assert (shipped["state"], shipped["driveList"][0]["driveId"]) == ("Shipping", "S-other-drive")


def test_drives_are_changed_without_their_keys_being_told_again(server: Server) -> None:
    _file(server, "rekeyed")
    listed = put_body("S-rekeyed", key=None)["properties"]["driveList"]
    listed[0]["manifestFile"] = "\\\\Other.xml"
    answer = server.of_job("PATCH", "rekeyed", {"properties": {"driveList": listed}})
    assert answer.status == 200, answer.body
    assert answer.body["properties"]["driveList"][0]["manifestFile"] == "\\\\Other.xml"
    (key,) = server.of_job("POST", "rekeyed", rest="/listBitLockerKeys").body["value"]
    assert key["bitLockerKey"] == KEY
    more = {"properties": {"driveList": [*listed, {**listed[0], "driveId": "S-stranger"}]}}
    refused = server.of_job("PATCH", "rekeyed", more)
    assert refused.body["error"]["target"] == "properties.driveList[1].bitLockerKey"


def test_both_spellings_of_a_blob_list_are_refused_as_the_export_they_belong_to(server: Server) -> None:
    for name in ("blobListblobPath", "blobListBlobPath"):
        answer = server.of_job("PUT", "exporting", put_body("S", jobType="Export", export={name: "lists/a"}))
        assert (answer.status, answer.body["error"]["target"]) == (400, "properties.jobType")
        assert "Export" in answer.message


def test_names_are_compared_without_case(server: Server) -> None:
    _file(server, "cased")
    path = (
        f"/SUBSCRIPTIONS/{SUBSCRIPTION.upper()}/resourcegroups/{GROUP.upper()}"
        f"/providers/microsoft.importexport/JOBS/CASED/?API-VERSION=2016-11-01"
    )
    assert server.ask("GET", path).body["name"] == "cased"


def test_a_job_is_not_seen_from_another_group_and_its_name_is_taken_there(server: Server) -> None:
    _file(server, "elsewhere")
    other = job_path("elsewhere").replace(f"/{GROUP}/", "/other/")
    assert server.ask("GET", other).status == 404
    assert server.ask("DELETE", other).status == 404
    answer = server.ask("PUT", other, put_body("S-other"))
    assert (answer.status, answer.code) == (409, "JobExists")


def test_a_drive_that_another_job_waits_for_is_refused(server: Server) -> None:
    _file(server, "first")
    answer = server.of_job("PUT", "second", put_body("S-first"))
    assert (answer.status, answer.code) == (409, "SerialConflict")


def test_a_job_on_its_way_is_not_put_anew_nor_deleted(server: Server) -> None:
    _file(server, "shipped", **SHIP)
    assert server.of_job("GET", "shipped").body["properties"]["state"] == "Shipping"
    for method, body in (("PUT", put_body("S-shipped")), ("DELETE", None)):
        answer = server.of_job(method, "shipped", body)
        assert (answer.status, answer.code) == (409, "MoveRefused")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, 415, "UnsupportedMediaType"),
        ({"Content-Encoding": "gzip"}, 415, "UnsupportedMediaType"),
    ],
)
def test_a_body_of_another_kind_is_refused(
    server: Server, headers: dict[str, str], status: int, code: str
) -> None:
    answer = server.of_job("PUT", "kind", b"{}", headers=headers)
    assert (answer.status, answer.code) == (status, code)


def test_a_body_that_is_too_long_is_refused(server: Server) -> None:
    answer = server.of_job("PUT", "long", b" " * (2 << 20))
    assert (answer.status, answer.code) == (413, "RequestContentTooLarge")


def test_what_is_not_done_under_a_path_says_what_is(server: Server) -> None:
    answer = server.of_job("POST", "x")
    assert (answer.status, answer.code) == (405, "MethodNotAllowed")
    assert "PATCH" in answer.headers["allow"]
    assert server.of_job("POST", "x", rest="/dance").status == 404


def test_what_is_no_http_gets_an_answer_that_can_be_read(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(str(server.socket))
        raw.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        said = _all(raw)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "BadRequest"' in said


def test_the_next_page_is_under_the_address_that_the_client_used(server: Server) -> None:
    for number in range(3):
        _file(server, f"page-{number}")
    path = f"{group_path()}/jobs{VERSION}&$top=1&$filter=state%20eq%20'Creating'"
    by_socket = server.ask("GET", path, headers={"Host": "ingest.example:99"}).body["nextLink"]
    assert by_socket.startswith(f"http://ingest.example:99{group_path()}/jobs?api-version=2021-01-01&")
    assert "$filter=state%20eq%20%27Creating%27" in by_socket
    token = server.token("reader")
    over_tls = server.ask("GET", path, token=token).body["nextLink"]
    assert over_tls.startswith(server.base_url + group_path())
    following = server.ask("GET", over_tls.removeprefix(server.base_url), token=token)
    assert following.status == 200
    assert len(following.body["value"]) == 1
    assert server.ask("GET", path, headers={"Host": "a b"}).code == "InvalidHostHeader"


def test_every_answer_has_the_headers_of_the_service(server: Server) -> None:
    answer = server.ask("GET", "/nothing", headers={"x-ms-correlation-request-id": "abc-1"})
    assert answer.headers["x-ms-request-id"]
    assert answer.headers["x-ms-correlation-request-id"] == "abc-1"
    assert "no-cache" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" not in answer.headers
    secure = server.ask("GET", "/nothing", token=server.token("reader"))
    assert secure.headers["strict-transport-security"].startswith("max-age=")


def test_a_put_echoes_the_location_and_a_get_shows_it(server: Server) -> None:
    body = {**put_body("S-located"), "location": "westus"}
    assert server.of_job("PUT", "located", body).body["location"] == "westus"
    assert server.of_job("GET", "located").body["location"] == "West US"


def test_operators_verbs_walk_a_job_that_nobody_copies(server: Server) -> None:
    _file(server, "walked", **SHIP)
    operator, technician = server.token("operator"), server.token("technician")

    def act(rest: str, body: Any = None, token: str = operator) -> Any:
        answer = server.of_job("POST", "walked", body, rest=rest, token=token)
        assert answer.status == 200, answer.body
        return answer.body["properties"]

    assert act("/extendWaiting", {"days": 30, "note": "the carrier is slow"})["state"] == "Shipping"
    assert (
        act("/drives/S-walked/markNeverReceived", token=technician)["driveList"][0]["state"]
        == "NeverReceived"
    )
    assert act("/drives/S-walked/receive", token=technician)["driveList"][0]["state"] == "Received"
    assert act("/cancel", {"note": "the customer called"})["cancelRequested"] is True
    events = server.of_job("GET", "walked", rest="/history").body["value"]
    assert any(event.get("detail") == "the customer called" for event in events)
    assert server.of_job("POST", "walked", rest="/drives/S-other/receive").code == "ResourceNotFound"


def test_a_decision_needs_its_reason(server: Server) -> None:
    _file(server, "reasoned", **SHIP)
    answer = server.of_job("POST", "reasoned", {}, rest="/fault")
    assert 400 <= answer.status < 500
    assert "note" in answer.message


def test_the_description_is_served(server: Server) -> None:
    described = server.ask("GET", "/openapi.json").body
    assert described["openapi"].startswith("3.1")
    assert any(path.endswith("/listBitLockerKeys") for path in described["paths"])


def test_the_log_tells_who_changed_what_and_no_secret(server: Server) -> None:
    _file(server, "logged")
    until = time.monotonic() + 60
    # The line is written when the answer has been sent.
    while "jobs/logged" not in (said := server.said()) and time.monotonic() < until:
        time.sleep(0.05)
    assert "jobs/logged" in said
    assert "api.request" in said
    assert KEY not in said
    assert not any(token in said for token in server.tokens.values())
    assert "Traceback" not in said


def test_a_job_that_was_filed_at_the_station_stands_where_the_settings_say(server: Server) -> None:
    options = ("--drive", "S-by-hand", "--allow-unencrypted", "--to", "data")
    code, said = killing.run(server.environment, "job", "create", "by-hand", *options)
    assert code == 0, said
    nil = "00000000-0000-0000-0000-000000000000"
    group = f"/subscriptions/{nil}/resourceGroups/station/providers/Microsoft.ImportExport/jobs"
    assert [one["name"] for one in server.ask("GET", group + VERSION).body["value"]] == ["by-hand"]
    found = server.ask("GET", f"{group}/by-hand{VERSION}").body
    assert found["id"] == f"{group}/by-hand"
    assert found["properties"]["state"] == "Shipping"
    assert server.of_job("GET", "by-hand").status == 404
    listed = server.ask("GET", f"{group_path()}/jobs{VERSION}").body["value"]
    assert "by-hand" not in [one["name"] for one in listed]


def test_a_certificate_is_renewed_while_the_server_runs(tmp_path: Path, certificates: Certificates) -> None:
    """As who renews certificates does it: one file after the other."""
    place = tmp_path / "tls"
    place.mkdir()
    used = replace(certificates, server=place / "server.pem", server_key=place / "server.key")
    shutil.copyfile(certificates.server, used.server)
    shutil.copyfile(certificates.server_key, used.server_key)
    (tmp_path / "other").mkdir()
    other = make(tmp_path / "other")
    with serving(tmp_path, used) as server:
        before = _shown_certificate(server)
        for new, old in ((other.server, used.server), (other.server_key, used.server_key)):
            shutil.copyfile(new, place / "new")
            (place / "new").replace(old)
        until = time.monotonic() + 60
        while _shown_certificate(server) == before and time.monotonic() < until:
            time.sleep(0.2)
        assert _shown_certificate(server) == ssl.PEM_cert_to_DER_cert(other.server.read_text("ascii"))
        assert "api.certificate_renewed" in server.said()


def _shown_certificate(server: Server) -> bytes | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = int(server.base_url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True)


def test_the_socket_is_gone_when_the_server_is(tmp_path: Path, certificates: Certificates) -> None:
    with serving(tmp_path, certificates) as server:
        place = server.socket
        assert place.exists()
        server.process.terminate()
        assert server.process.wait(30) == 0
    assert not place.exists()
