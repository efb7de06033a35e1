"""Live events of the job API, and secrets that nothing of it shows."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.api import feed as feed_module
from agent.api.feed import Feed, Moved, TooManyListeners, Went
from agent.catalog import Catalog, open_catalog
from agent.model.states import DriveEvent
from agent.model.tally import Count, Tally
from fixtures.certificates import Certificates
from tests.kit import killing
from tests.kit.api import Server, put_body, serving
from tests.kit.log import KeptLog
from tests.unit.catalog_cases import name, serial, spec

WAIT_S = 60
CANARIES = {
    "recovery password": "000000-111111-222222-333333-444444-555555-666666-720885",
    "password": "canary-password-7f3a",
    "sas": "https://canary.blob.core.windows.net/?sv=2024-01-01&sig=CANARYSIGNATURE7f3a%3D",
    "account": "canary-carrier-account-7f3a",
}


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    async with open_catalog(tmp_path / "catalog.sqlite", tmp_path / "key") as found:
        yield found


@pytest.fixture
async def feed(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Feed]:
    monkeypatch.setattr(feed_module, "POLL_EVERY_S", 0.01)
    found = Feed(catalog, KeptLog())
    task = asyncio.create_task(found.run())
    yield found
    found.close()
    task.cancel()
    await asyncio.wait([task])


async def _next(tidings: Any, kind: type) -> Any:
    async with asyncio.timeout(WAIT_S):
        while not isinstance(tiding := await anext(tidings), kind):
            pass
    return tiding


async def test_a_listener_hears_what_happens_after_it_came(catalog: Catalog, feed: Feed) -> None:
    await catalog.create_job(spec("old-1", "S0"), ship=True, who="t")
    tidings = feed.listen(None)
    assert await anext(tidings) is None
    hearing = asyncio.create_task(_next(tidings, Moved))
    while feed._last is None:  # noqa: ASYNC110 - what a listener needs to be told of is not told otherwise
        await asyncio.sleep(0.01)
    await catalog.create_job(spec("new-1", "S1"), ship=True, who="t")
    heard = await hearing
    assert (heard.event.what, heard.event.job) == ("job.create", "new-1")
    await tidings.aclose()


async def test_who_comes_again_hears_what_it_missed_and_nothing_twice(catalog: Catalog, feed: Feed) -> None:
    for number in range(3):
        await catalog.create_job(spec(f"job-{number}", f"S{number}"), ship=False, who="t")
    first, other = feed.listen(0), feed.listen(1)
    seen = [(await _next(first, Moved)).event.id for _ in range(3)]
    assert seen == [1, 2, 3]
    assert [(await _next(other, Moved)).event.id for _ in range(2)] == [2, 3]
    await catalog.create_job(spec("job-9", "S9"), ship=False, who="t")
    assert (await _next(first, Moved)).event.id == (await _next(other, Moved)).event.id == 4
    await first.aclose()
    await other.aclose()


async def test_what_was_missed_is_read_as_it_is_told(
    catalog: Catalog, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "PAGE_EVENTS", 2)
    for number in range(9):
        await catalog.create_job(spec(f"job-{number}", f"S{number}"), ship=False, who="t")
    asked: list[int] = []
    after = catalog.events_after

    async def counted(event_id: int, **options: Any) -> Any:
        asked.append(event_id)
        return await after(event_id, **options)

    monkeypatch.setattr(catalog, "events_after", counted)
    tidings = feed.listen(0)
    assert (await _next(tidings, Moved)).event.id == 1
    assert len([one for one in asked if one < 8]) == 1
    assert [(await _next(tidings, Moved)).event.id for _ in range(8)] == [*range(2, 10)]
    await tidings.aclose()


async def test_a_surprise_ends_no_live_events_and_stands_in_the_log(
    catalog: Catalog, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = catalog.find_jobs

    async def stumbles(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(catalog, "find_jobs", asked)
        raise RuntimeError("as nobody thought of")

    monkeypatch.setattr(catalog, "find_jobs", stumbles)
    tidings = feed.listen(None)
    hearing = asyncio.create_task(_next(tidings, Moved))
    log = feed._log
    assert isinstance(log, KeptLog)
    async with asyncio.timeout(WAIT_S):
        while not log.named("api.feed"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    (line,) = log.named("api.feed")
    assert line["error"] == "RuntimeError"
    assert Path(__file__).name in line["at"]
    await catalog.create_job(spec("new-1", "S1"), ship=True, who="t")
    assert (await hearing).event.job == "new-1"
    await tidings.aclose()


async def test_progress_is_told_when_it_moves(catalog: Catalog, feed: Feed) -> None:
    await catalog.create_job(spec("job-1", "S1"), ship=True, who="t")
    await catalog.move_drive(name("job-1"), serial("S1"), DriveEvent.ARRIVE, who="t")
    await catalog.move_drive(name("job-1"), serial("S1"), DriveEvent.BEGIN, who="t")
    tidings = feed.listen(None)
    assert (await _next(tidings, Went)).body["percentComplete"] == 0
    half = Tally(Count(10, 1000), Count(5, 500))
    await catalog.record_progress(name("job-1"), serial("S1"), half, 50, "InProgress")
    told = (await _next(tidings, Went)).body
    assert (told["percentComplete"], told["bytesSucceeded"], told["drive"]) == (50, 500, "S1")
    late = feed.listen(None)
    assert (await _next(late, Went)).body == told
    await tidings.aclose()
    await late.aclose()


async def test_who_takes_nothing_is_let_go_and_holds_nobody_up(
    catalog: Catalog, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MAX_QUEUED", 2)
    slow = feed.listen(None)
    assert await anext(slow) is None
    waiting = asyncio.create_task(_next(slow, Moved))
    while feed._last is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for number in range(6):
        await catalog.create_job(spec(f"job-{number}", f"S{number}"), ship=False, who="t")
    await waiting
    async with asyncio.timeout(WAIT_S):
        while feed._queues:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        rest = [one async for one in slow]
    assert len(rest) <= 2


async def test_there_are_not_endlessly_many_listeners(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MAX_LISTENERS", 1)
    one = feed.listen(None)
    await anext(one)
    with pytest.raises(TooManyListeners):
        await anext(feed.listen(None))
    await one.aclose()
    again = feed.listen(None)
    assert await anext(again) is None
    await again.aclose()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("api"), certificates) as found:
        yield found


@contextmanager
def _stream(
    server: Server, query: str = "", headers: dict[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(WAIT_S)
    raw.connect(str(server.socket))
    connection.request("GET", f"/events{query}", headers=headers or {})
    with connection.getresponse() as response:
        yield response
    connection.close()
    raw.close()


def test_events_are_a_stream_that_browsers_understand(server: Server) -> None:
    for job in ("heard", "unheard"):
        assert server.of_job("PUT", job, put_body(f"S-{job}")).status == 201
    with _stream(server, "?job=HEARD", {"Last-Event-ID": "0"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [response.readline().decode().rstrip("\n") for _ in range(5)]
    assert lines[:2] == [": here", ""]
    assert lines[2].startswith("id: ")
    assert lines[3] == "event: job.create"
    told = json.loads(lines[4].removeprefix("data: "))
    assert (told["job"], told["now"]) == ("heard", "Creating")
    assert server.ask("GET", "/events", headers={"Last-Event-ID": "x"}).code == "InvalidHeader"
    assert server.ask("HEAD", "/events").status == 200


def test_a_server_with_listeners_ends_in_order(tmp_path: Path, certificates: Certificates) -> None:
    with serving(tmp_path, certificates) as server, _stream(server) as response:
        begun = [response.readline() for _ in range(4)]
        assert begun == [b": here\n", b"\n", b"id: 0\n", b"\n"]
        server.process.terminate()
        assert server.process.wait(30) == 0
        assert response.read().strip() == b""


def test_no_secret_is_in_any_answer_log_or_history(server: Server) -> None:
    """Keys, a SAS, a token and a carrier's account, planted wherever a request can hold them."""
    token, stranger = server.token("operator"), "dia_" + "0" * 12 + "_" + "canaryTOKEN" * 4
    shown: list[str] = []

    def ask(method: str, rest: str = "", body: Any = None, **options: Any) -> None:
        answer = server.of_job(method, "canary", body, rest=rest, **options)
        shown.append(f"{answer.headers} {answer.body}")

    good = put_body("S-canary", "S-other", key=CANARIES["recovery password"])
    good["properties"]["driveList"][1]["bitLockerKey"] = CANARIES["password"]
    good["properties"]["containerSas"] = CANARIES["sas"]
    ask("PUT", body=good, token=token)
    ask("PUT", body={**good, "properties": {**good["properties"], "storageAccountId": CANARIES["sas"]}})
    wrong = json.loads(json.dumps(good))
    for drive in wrong["properties"]["driveList"]:
        drive["bitLockerKey"] = CANARIES["recovery password"].replace("720885", "720886")
        drive["manifestHash"] = CANARIES["password"]
    ask("PUT", body=wrong)
    ask("PUT", body=json.dumps(good).encode()[:-1])
    ask("PUT", body=json.dumps(good).encode("utf-16"))
    ask(
        "PATCH",
        body={"properties": {"driveList": good["properties"]["driveList"], "logLevel": "Loud"}},
    )
    ask(
        "PATCH",
        body={
            "properties": {
                "returnShipping": {
                    "carrierName": "x",
                    "carrierAccountNumber": ["canary-carrier-account-7f3a"],
                }
            }
        },
    )
    for method in ("GET", "DELETE"):
        ask(method, token=stranger)
    ask("GET")
    ask("GET", "/history")
    ask("POST", "/listBitLockerKeys", token=server.token("reader"))
    keys = server.of_job("POST", "canary", rest="/listBitLockerKeys", token=token).body["value"]
    assert [one["bitLockerKey"] for one in keys] == [CANARIES["recovery password"]]
    ask("GET", "/history", token=server.token("technician"))
    shown.append(server.said())
    shown.append(Path(f"/proc/{server.process.pid}/cmdline").read_text("utf-8"))
    shown.append(Path(f"/proc/{server.process.pid}/environ").read_text("utf-8"))
    secrets = [*CANARIES.values(), "720886", "CANARYSIGNATURE", "canaryTOKEN", *server.tokens.values()]
    for text in shown:
        assert not [secret for secret in secrets if secret in text], text
    stored = b"".join(path.read_bytes() for path in (server.folder / "state").rglob("*") if path.is_file())
    hidden = [CANARIES["recovery password"], CANARIES["password"], "CANARYSIGNATURE", "canaryTOKEN"]
    assert not [secret for secret in hidden + list(server.tokens.values()) if secret.encode() in stored]


def test_tokens_are_made_shown_and_revoked_by_commands(server: Server) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            killing.command("api", "token", *arguments),
            env={**server.environment, "PATH": "/usr/bin:/bin", "HOME": str(server.folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    text = run("create", "wall", "--role", "reader", "--days", "30").stdout.strip()
    assert server.ask("GET", "/openapi.json", token=text).status == 200
    listed = json.loads(run("list", "--json").stdout)["value"]
    (wall,) = [one for one in listed if one["name"] == "wall"]
    assert (wall["role"], wall["revoked"]) == ("reader", None)
    assert text.rpartition("_")[2] not in run("list").stdout
    assert run("create", "wall", "--role", "reader").returncode == 2
    assert run("revoke", "wall").returncode == 0
    assert server.ask("GET", "/openapi.json", token=text).status == 401
    assert run("revoke", "wall").returncode == 2
    assert server.ask("GET", "/openapi.json", token=server.token("operator")).status == 200
    until, seen = time.monotonic() + WAIT_S, ""
    with _stream(server, headers={"Last-Event-ID": "0"}) as response:
        while "api.token.revoked" not in seen and time.monotonic() < until:
            seen += response.readline().decode()
    assert "api.token.created" in seen
    assert "api.refused" in seen


def test_failures_are_slowed_down_and_who_has_a_token_is_not(
    tmp_path: Path, certificates: Certificates
) -> None:
    with serving(tmp_path, certificates) as server:
        statuses = [server.ask("GET", "/nothing", token="dia_none").status for _ in range(13)]
        assert statuses[:10] == [401] * 10
        assert statuses[-1] == 429
        refused = server.ask("GET", "/nothing", token="dia_none")
        assert int(refused.headers["retry-after"]) >= 1
        assert server.ask("GET", "/openapi.json", token=server.token("reader")).status == 200
        assert server.said().count("api.refused") == 2
