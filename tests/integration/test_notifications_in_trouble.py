"""Notifications on a full disk, in a fleet and beside a proxy: one event is one letter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.catalog import Catalog
from agent.catalog.chain import Head
from agent.catalog.history import HistoryCheck
from agent.cli.main import cli
from agent.config.notify import Hook, NotifySettings
from agent.errors import StateUnusable
from agent.model.secrets import Secret
from agent.station.notices import outbox
from agent.station.notices.letters import Letter
from agent.station.notices.outbox import Outbox
from agent.station.notices.outcome import DELIVERED, Outcome, Result, put_off
from agent.station.notices.posting import post
from agent.station.notices.relayed import relay
from agent.station.notices.service import telling
from agent.station.view import View
from tests.kit.log import KeptLog
from tests.kit.telling import Bench
from tests.unit.catalog_cases import WHO, Ticking, name, opened_at_once, serial, spec

HOOK = Hook("pager", "https://a.example/CANARY")


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
async def catalog(tmp_path: Path, clock: Ticking) -> AsyncIterator[Catalog]:
    async with opened_at_once(tmp_path, clock) as catalog:
        yield catalog


class Post:
    """Where all letters go; ``outcome`` is what becomes of them."""

    def __init__(self, outcome: Outcome = DELIVERED) -> None:
        self.outcome, self.messages = outcome, list[str]()

    async def send(self, hook: Hook, message: str, body: str, now: datetime) -> Outcome:
        self.messages.append(message)
        return self.outcome


def _full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """From now on nothing can be written into its box."""

    def refused(*_: object) -> None:
        raise StateUnusable("the box of letters cannot be used: disk full")

    for method in ("put", "note", "delivered", "put_off", "give_up"):
        monkeypatch.setattr(bench.outbox, method, refused)
    return monkeypatch


@pytest.mark.parametrize("outcome", [DELIVERED, put_off("the receiver answered 500")])
async def test_what_became_of_a_letter_is_written_down_before_it_is_sent_again(
    tmp_path: Path, catalog: Catalog, clock: Ticking, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    sent = Post(outcome)
    bench = Bench(tmp_path, catalog, clock, HOOK, send=sent.send)
    await bench.gather()
    await bench.finish()
    await bench.gather()
    with monkeypatch.context() as full:
        _full(bench, full)
        for _ in range(5):
            with pytest.raises(StateUnusable):
                await bench.deliver()
    assert len(sent.messages) == 1
    assert await bench.deliver() == 0
    assert len(sent.messages) == 1
    assert len(bench.outbox.letters(waiting=True)) == (outcome != DELIVERED)
    assert bench.counts.total() == 1


async def test_a_box_that_takes_nothing_fills_the_history_with_no_notices(
    tmp_path: Path, catalog: Catalog, clock: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, catalog, clock, HOOK)
    await bench.gather()
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await catalog.record_event("drive.paused", who="station", job=name(), serial=serial("A"), detail="x")
    await bench.gather()
    clock.pass_days(2)
    bench.view.credential_ends = clock.now + timedelta(hours=30)
    begun = await catalog.last_event_id()
    with monkeypatch.context() as full:
        _full(bench, full)
        for _ in range(5):
            with pytest.raises(StateUnusable):
                await bench.gather()
    written = len(await catalog.events_after(begun))
    assert written <= 2
    for _ in range(3):
        await bench.gather()
    told = [event.what for event in await catalog.events_after(begun)]
    assert sorted(told) == ["notice.credential", "notice.paused"]
    types = [one.type for one in bench.outbox.letters(waiting=True)]
    assert sorted(types) == ["credential.expires", "drive.paused"]


async def test_of_what_two_stations_of_a_fleet_see_one_tells(
    tmp_path: Path, catalog: Catalog, clock: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    benches = [
        Bench(
            tmp_path / place,
            catalog.seen_from(f"station on {place}"),
            clock,
            HOOK,
            station=place,
        )
        for place in ("hall-1", "hall-2")
    ]
    for bench in benches:
        await bench.gather()
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await catalog.record_event("drive.paused", who="station", job=name(), serial=serial("A"), detail="x")
    for bench in benches:
        await bench.gather()
    clock.pass_days(2)
    benches[0].view.credential_ends = clock.now + timedelta(minutes=5)

    async def broken(self: Catalog) -> HistoryCheck:
        return HistoryCheck(3, Head(3, "0"), "event 2 was changed, or put there")

    monkeypatch.setattr(Catalog, "verify_history", broken)
    for bench in [*benches, *benches]:
        await bench.gather()
    told = [event.what for event in await catalog.events_after(0) if event.what.startswith("notice.")]
    assert sorted(told) == ["notice.credential", "notice.history", "notice.paused"]
    letters = [bench.outbox.letters(waiting=True) for bench in benches]
    assert [[(one.message, one.type, one.body) for one in box] for box in letters[:1]] == [
        [(one.message, one.type, one.body) for one in box] for box in letters[1:]
    ]
    assert all('"station":"hall-1"' in one.body for one in letters[1])


async def test_what_is_for_this_machine_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readline())
        writer.close()

    async def receiver(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    async with (
        await asyncio.start_server(proxy, "127.0.0.1", 0) as between,
        await asyncio.start_server(receiver, "127.0.0.1", 0) as end,
    ):
        ports = [server.sockets[0].getsockname()[1] for server in (between, end)]
        for name_ in ("http_proxy", "HTTP_PROXY", "https_proxy"):
            monkeypatch.setenv(name_, f"http://127.0.0.1:{ports[0]}")
        outcome = await post(f"http://127.0.0.1:{ports[1]}/CANARY", b"{}", {}, ca_file=None)
    assert outcome == DELIVERED
    assert got == []


def test_an_address_with_a_secret_shows_in_no_repr() -> None:
    assert "CANARY" not in repr(HOOK)
    assert "CANARY" not in repr(NotifySettings((HOOK,)))


async def test_letters_to_a_hook_that_is_gone_are_given_up_and_not_kept_for_ever(
    tmp_path: Path, catalog: Catalog, clock: Ticking
) -> None:
    sent = Post(put_off("the receiver answered 500"))
    before = Bench(tmp_path, catalog, clock, HOOK, send=sent.send)
    await before.gather()
    await before.finish()
    await before.gather()
    await before.deliver()
    renamed = Hook("duty", "https://a.example/CANARY")
    after = Bench(tmp_path, catalog, clock, renamed, send=sent.send)
    for _ in range(2):
        await after.gather()
    (dead,) = after.outbox.letters()
    assert dead.why == "there is no hook of this name any more"
    assert len(after.log.named("notifications.orphaned")) == 1
    assert after.outbox.drop([dead.id]) == 1


async def test_a_receiver_by_apprise_that_never_stops_answering_fills_no_memory() -> None:
    pytest.importorskip("apprise", reason="apprise, an extra, is not installed")
    sent, ended = [0], asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
        with suppress(ConnectionError):
            while sent[0] < 1 << 30:
                writer.write(bytes(1 << 20))
                await writer.drain()
                sent[0] += 1 << 20
        writer.transport.abort()
        ended.set()

    body = '{"type": "drive.completed", "data": {"station": "hall-2", "summary": "Done."}}'
    async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
        address = f"json://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with asyncio.timeout(60):
            outcome = await relay(Secret(address), body)
            await ended.wait()
    assert outcome.result is Result.PUT_OFF
    assert sent[0] < 400 << 20


@pytest.mark.parametrize("command", [["list"], ["list", "--all"], ["retry", "--all"], ["drop", "--all"]])
def test_looking_after_notifications_makes_no_box_where_none_is(tmp_path: Path, command: list[str]) -> None:
    ran = CliRunner().invoke(cli, ["--state", str(tmp_path / "state"), "notify", *command])
    assert ran.exit_code == 0
    assert not list(tmp_path.rglob("notices.sqlite*"))


def test_the_box_is_bounded_and_forgets_the_oldest_that_were_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("MAX_WAITING", "MAX_DEAD"):
        monkeypatch.setattr(outbox, bound, 5)
    box = Outbox(tmp_path / "notices.sqlite")
    over = [
        box.put(page, [Letter("pager", f"m{page}-{one}", "t", "{}") for one in range(4)], [], 1000.0)
        for page in range(5)
    ]
    assert over == [0, 3, 4, 4, 4]
    assert len(box.letters(waiting=True)) == 10
    assert [one.message for one in box.letters()] == ["m3-3", *(f"m4-{one}" for one in range(4))]


async def test_a_clock_that_is_set_back_delays_no_letter_and_keeps_none_for_ever(
    tmp_path: Path, catalog: Catalog, clock: Ticking
) -> None:
    sent = Post(put_off("the receiver answered 500"))
    bench = Bench(tmp_path, catalog, clock, HOOK, send=sent.send)
    await bench.gather()
    await bench.finish()
    await bench.gather()
    await bench.deliver()
    clock.pass_days(-1)
    assert await bench.deliver() == 1
    for _ in range(60):
        clock.now += timedelta(hours=1)
        await bench.deliver()
    (dead,) = bench.outbox.letters()
    assert dead.tries == len(sent.messages) < 40


async def test_who_is_cancelled_while_notifications_end_is_cancelled(
    tmp_path: Path, catalog: Catalog
) -> None:
    telling_on = asyncio.Event()

    async def station() -> None:
        box = Outbox(tmp_path / "notices.sqlite")
        async with telling(catalog, NotifySettings((HOOK,)), box, View(), KeptLog(), station="s"):
            telling_on.set()
            asyncio.get_running_loop().call_soon(task.cancel)
        pytest.fail("its cancellation was swallowed")

    task = asyncio.create_task(station())
    await telling_on.wait()
    with pytest.raises(asyncio.CancelledError):
        await task
