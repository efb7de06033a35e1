"""Web-hooks over real TLS: signed, tried again, given up, and never a reason to stop."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.catalog import Catalog
from agent.cli.main import cli
from agent.config.notify import Hook, Kind, NotifySettings
from agent.errors import ConfigInvalid
from agent.model.secrets import Secret
from agent.station.notices.outbox import Outbox
from agent.station.notices.outcome import DELIVERED, Outcome, Result
from agent.station.notices.posting import post
from agent.station.notices.sending import send, wait_s
from agent.station.notices.service import telling
from agent.station.notices.signing import signed_headers
from agent.station.view import View
from fixtures.certificates import Certificates, make
from tests.kit.log import KeptLog
from tests.kit.receiver import SECRET, SECRET_BYTES, Receiver, received
from tests.kit.telling import Bench
from tests.unit.catalog_cases import WHO, Ticking, name, opened_at_once, serial, spec


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
async def catalog(tmp_path: Path, clock: Ticking) -> AsyncIterator[Catalog]:
    async with opened_at_once(tmp_path, clock) as catalog:
        yield catalog


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    return file


def _hook(to: Receiver, secret_file: Path, certificates: Certificates, **more: object) -> Hook:
    values = {"url": to.url, "secret_file": secret_file, "ca_file": certificates.authority, **more}
    return Hook(**{"name": "pager", **values})  # type: ignore[arg-type]


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.01)


async def test_a_finished_drive_is_told_once_signed_and_without_what_is_private(
    tmp_path: Path, catalog: Catalog, clock: Ticking, certificates: Certificates, secret_file: Path
) -> None:
    async with received(certificates) as receiver:
        bench = Bench(tmp_path, catalog, clock, _hook(receiver, secret_file, certificates))
        await bench.gather()
        await bench.finish()
        await bench.catalog.fault_job(name(), who="J. Doe", note="secret-file.docx smells")
        for _ in range(2):
            await bench.gather()
            await bench.deliver()
    assert [one["type"] for one in receiver.bodies()] == ["drive.completed", "station.faulted"]
    assert receiver.bodies()[0]["data"] | {"event": 0} == {
        "event": 0,
        "station": "hall-2",
        "summary": "The drive is finished: every byte is in the service.",
        "job": "ship-1",
        "drive": "A",
        "state": "Completed",
    }
    assert receiver.is_signed(0)
    assert receiver.is_signed(1)
    assert not receiver.is_signed(0, b"another key of thirty-two bytes!")
    assert len(set(receiver.ids())) == 2
    whole = json.dumps(receiver.bodies())
    assert "J. Doe" not in whole
    assert "docx" not in whole
    assert bench.counts == {"delivered": 2}
    assert bench.outbox.letters(waiting=True) == []


async def test_details_and_kinds_are_told_to_who_asked_for_them(
    tmp_path: Path, catalog: Catalog, clock: Ticking, certificates: Certificates, secret_file: Path
) -> None:
    async with received(certificates) as receiver:
        hook = _hook(receiver, secret_file, certificates, details=True, events=frozenset({Kind.FAULTED}))
        bench = Bench(tmp_path, catalog, clock, hook)
        await bench.gather()
        await bench.finish()
        await bench.catalog.fault_job(name(), who=WHO, note="it smells")
        await bench.gather()
        await bench.deliver()
    assert [one["data"]["detail"] for one in receiver.bodies()] == ["it smells"]


async def test_refusals_of_the_moment_are_tried_again_and_lost_to_nobody(
    tmp_path: Path, catalog: Catalog, clock: Ticking, certificates: Certificates, secret_file: Path
) -> None:
    answers = ("500 Oops", "hang up", "429 Slow\r\nRetry-After: 700", "408 Late", "200 OK")
    async with received(certificates, *answers) as receiver:
        bench = Bench(tmp_path, catalog, clock, _hook(receiver, secret_file, certificates))
        await bench.gather()
        await bench.finish()
        await bench.gather()
        for tries in range(1, 6):
            assert await bench.deliver() == 1
            assert len(receiver.got) == tries
            assert await bench.deliver() == 0
            if tries == 3:
                clock.pass_days(650 / 86_400)
                assert await bench.deliver() == 0
            clock.pass_days(0.03)
    assert len(set(receiver.ids())) == 1
    assert all(receiver.is_signed(number) for number in range(5))
    stamps = [int(headers["webhook-timestamp"]) for headers, _ in receiver.got]
    assert stamps == sorted(set(stamps))
    assert bench.counts == {"put_off": 4, "delivered": 1}
    assert len(bench.log.named("notification.put_off")) == 1


async def test_a_letter_is_tried_for_a_day_then_given_up_and_sent_by_hand(
    tmp_path: Path, catalog: Catalog, clock: Ticking, certificates: Certificates, secret_file: Path
) -> None:
    async with received(certificates) as receiver:
        port = receiver.port
    hook = _hook(receiver, secret_file, certificates)
    bench = Bench(tmp_path, catalog, clock, hook)
    await bench.gather()
    await bench.finish()
    await bench.gather()
    begun = clock.now
    while not bench.outbox.letters():
        await bench.deliver()
        clock.now += timedelta(minutes=30)
    assert timedelta(hours=19) < clock.now - begun < timedelta(hours=25)
    (dead,) = bench.outbox.letters()
    assert dead.why == "the receiver cannot be reached: Connection refused; tried for a day"
    assert dead.tries >= 10
    assert bench.counts["given_up"] == 1
    state = ("--state", str(tmp_path))
    shown = CliRunner().invoke(cli, [*state, "notify", "list"]).output
    assert "drive.completed" in shown
    assert "CANARY" not in shown
    assert CliRunner().invoke(cli, [*state, "notify", "retry", str(dead.id)]).output == "1 tried anew\n"
    assert "none" in CliRunner().invoke(cli, [*state, "notify", "list"]).output
    clock.pass_days(1000 * 365)
    async with received(certificates, port=port) as receiver:
        assert await bench.deliver() == 1
    assert receiver.ids() == [dead.message]
    assert bench.outbox.letters(waiting=True) == []


@pytest.mark.parametrize(
    "answer", ["410 Gone", "404 Not Found", "301 Moved\r\nLocation: https://127.0.0.1:1/"]
)
async def test_a_refusal_for_good_is_given_up_at_once_and_can_be_dropped(
    tmp_path: Path,
    catalog: Catalog,
    clock: Ticking,
    certificates: Certificates,
    secret_file: Path,
    answer: str,
) -> None:
    async with received(certificates, answer) as receiver:
        bench = Bench(tmp_path, catalog, clock, _hook(receiver, secret_file, certificates))
        await bench.gather()
        await bench.finish()
        await bench.gather()
        await bench.deliver()
        clock.pass_days(1)
        await bench.deliver()
    assert len(receiver.got) == 1
    (dead,) = bench.outbox.letters()
    assert dead.why.startswith(f"the receiver answered {answer[:3]}")
    wrong = CliRunner().invoke(cli, ["--state", str(tmp_path), "notify", "drop", "99"])
    assert "0 of 1 dropped" in str(wrong.exception)
    assert (
        CliRunner().invoke(cli, ["--state", str(tmp_path), "notify", "drop", "--all"]).output == "1 dropped\n"
    )
    assert bench.outbox.letters(waiting=True) == []


async def test_a_restart_in_the_middle_loses_nothing_and_repeats_at_most_one(
    tmp_path: Path, catalog: Catalog, clock: Ticking, certificates: Certificates, secret_file: Path
) -> None:
    async with received(certificates) as receiver:
        hook = _hook(receiver, secret_file, certificates)
        first = Bench(tmp_path, catalog, clock, hook)
        await first.gather()
        await first.finish("A", "ship-1")
        await first.gather()

        def killed(number: int) -> None:
            raise asyncio.CancelledError

        first.outbox.delivered = killed  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await first.deliver()
        await first.finish("B", "ship-2")
        second = Bench(tmp_path, catalog, clock, hook)
        await second.gather()
        await second.deliver()
        await second.gather()
        await second.deliver()
    assert [one["data"]["drive"] for one in receiver.bodies()] == ["A", "A", "B"]
    assert len(set(receiver.ids())) == 2


async def test_what_happened_before_the_first_start_is_not_told_and_a_restored_catalog_begins_anew(
    tmp_path: Path, catalog: Catalog, clock: Ticking
) -> None:
    bench = Bench(tmp_path, catalog, clock, Hook("pager", "https://a.example"))
    await bench.finish()
    await bench.gather()
    assert bench.outbox.letters(waiting=True) == []
    bench.outbox.note({"cursor": "1000"})
    await bench.gather()
    assert bench.outbox.cursor() == await catalog.last_event_id()
    assert bench.log.named("notifications.begin_anew")


@pytest.mark.parametrize("misdeed", ["silence", "flood", "headers without end"])
async def test_a_receiver_that_never_ends_is_hung_up_on(certificates: Certificates, misdeed: str) -> None:
    async with received(certificates, misdeed) as receiver:
        headers = signed_headers("m", 1, b"{}", [Secret(SECRET)])
        outcome = await post(receiver.url, b"{}", headers, ca_file=certificates.authority, within_s=0.5)
        await asyncio.sleep(0.05)
    if misdeed == "flood":
        assert outcome == DELIVERED
    else:
        assert outcome.result is Result.PUT_OFF
    assert receiver.sent_bytes < 16_000_000
    assert "CANARY" not in outcome.why


async def test_a_receiver_that_cannot_prove_who_it_is_gets_nothing(
    certificates: Certificates, secret_file: Path, clock: Ticking
) -> None:
    async with received(certificates) as receiver:
        hook = Hook("pager", receiver.url, secret_file=secret_file)
        outcome = await send(hook, "m", "{}", clock())
        other = Hook("pager", receiver.url.replace("127.0.0.1", "127.0.0.2"), None, secret_file)
        assert (await send(other, "m", "{}", clock())).result is Result.PUT_OFF
    assert receiver.got == []
    assert outcome.result is Result.PUT_OFF
    assert "certificate" in outcome.why


async def test_a_slow_hook_delays_no_other_and_the_end_waits_for_none(
    tmp_path: Path, catalog: Catalog, certificates: Certificates, secret_file: Path
) -> None:
    log, view = KeptLog(), View()
    async with received(certificates, "silence") as slow, received(certificates) as quick:
        hooks = (
            _hook(slow, secret_file, certificates),
            _hook(quick, secret_file, certificates, name="chat"),
        )
        settings, outbox = NotifySettings(hooks), Outbox(tmp_path / "notices.sqlite")
        async with telling(catalog, settings, outbox, view, log, station="hall-2", every_s=0.02):
            await _until(lambda: outbox.cursor() is not None)
            for number in range(3):
                await catalog.note_extra(serial(f"X{number}"), came_with=None, who=WHO)
            await _until(lambda: len(quick.got) == 3 and bool(slow.got))
            await _until(lambda: len(outbox.letters(waiting=True)) == 3)
    assert len(slow.got) == 1
    assert [one["type"] for one in quick.bodies()] == ["operator.needed"] * 3
    assert [one.hook for one in outbox.letters(waiting=True)] == ["pager"] * 3
    assert view.notifications["delivered"] >= 2
    assert SECRET not in repr(log.lines) + repr(hooks)
    assert "CANARY" not in repr(log.lines)


async def test_trouble_of_box_or_catalog_ends_nothing_and_is_told_once(
    tmp_path: Path, catalog: Catalog
) -> None:
    log, box = KeptLog(), tmp_path / "notices.sqlite"
    box.write_bytes(b"no database " * 1000)
    settings = NotifySettings((Hook("pager", "https://a.example"),))
    async with telling(catalog, settings, Outbox(box), View(), log, station="s", every_s=0.01):
        await _until(lambda: len(log.lines) == 2)
        await asyncio.sleep(0.1)
    assert [event for event, _ in log.lines] == ["notifications.failed"] * 2


async def test_long_pauses_ending_credentials_and_a_broken_history_become_notices_once(
    tmp_path: Path, catalog: Catalog, clock: Ticking
) -> None:
    bench = Bench(tmp_path, catalog, clock, Hook("pager", "https://a.example"))
    await bench.gather()
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    await catalog.record_event("drive.paused", who="station", job=name(), serial=serial("A"), detail="x")
    bench.view.credential_ends = clock.now + timedelta(hours=30)
    for minutes in (1, 50, 20, 20):
        clock.now += timedelta(minutes=minutes)
        await bench.gather()
    types = [one.type for one in bench.outbox.letters(waiting=True)]
    assert types == ["credential.expires", "drive.paused"]
    clock.now += timedelta(hours=10)
    await bench.gather()
    assert len(bench.outbox.letters(waiting=True)) == 3
    with sqlite3.connect(tmp_path / "catalog.sqlite") as base:
        for trigger in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            base.execute(f"DROP TRIGGER {trigger[0]}")
        base.execute("UPDATE event SET detail = 'y' WHERE what = 'drive.paused'")
    base.close()
    for _ in range(2):
        clock.pass_days(1.1)
        await bench.gather()
    types = [one.type for one in bench.outbox.letters(waiting=True)]
    assert types.count("history.broken") == 1
    assert (await catalog.events_after(0))[-1].what.startswith("notice.")


async def test_a_drive_that_goes_on_in_time_is_no_news(
    tmp_path: Path, catalog: Catalog, clock: Ticking
) -> None:
    bench = Bench(tmp_path, catalog, clock, Hook("pager", "https://a.example"))
    await bench.gather()
    await catalog.create_job(spec("ship-1", "A"), ship=True, who=WHO)
    for what in ("drive.paused", "drive.resumed"):
        await catalog.record_event(what, who="station", job=name(), serial=serial("A"))
        await bench.gather()
    clock.pass_days(1)
    await bench.gather()
    assert bench.outbox.letters(waiting=True) == []


@pytest.mark.parametrize("text", ["whsec_c2hvcnQ=", "CANARY", "whsec_CANARY!", "whsec_" + "QUFB" * 40])
async def test_a_secret_that_is_none_is_not_told(
    tmp_path: Path, certificates: Certificates, clock: Ticking, text: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    file.chmod(0o600)
    outcome = await send(Hook("pager", "https://127.0.0.1:1/", secret_file=file), "m", "{}", clock())
    assert outcome.why == "a web-hook's secret must be whsec_ and 24 to 64 bytes in base64"
    file.chmod(0o644)
    with pytest.raises(ConfigInvalid, match="open to others"):
        Hook("pager", "https://127.0.0.1:1/", secret_file=file).secrets()


def test_two_secrets_sign_both_while_they_are_changed() -> None:
    other = "whsec_" + base64.b64encode(b"another key of thirty-two bytes!").decode()
    headers = signed_headers("m", 5, b"{}", [Secret(SECRET), Secret(other)])
    receiver = Receiver(got=[(headers, b"{}")])
    assert receiver.is_signed(key=SECRET_BYTES)
    assert receiver.is_signed(key=b"another key of thirty-two bytes!")


def test_the_signature_is_that_of_the_specification() -> None:
    # The worked example of the reference libraries.
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [secret])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_waits_grow_and_a_receiver_may_ask_for_two_hours_at_most() -> None:
    waits = [wait_s(tries, None) for tries in range(20)]
    assert waits[0] < 7
    assert max(waits) <= 7200 * 1.2
    assert wait_s(0, 1e300) == 7200


async def test_the_test_command_says_who_has_it_and_who_has_not(
    tmp_path: Path, certificates: Certificates, secret_file: Path
) -> None:
    async with received(certificates) as receiver:
        file = tmp_path / "agent.toml"
        file.write_text(
            f'state_dir = "{tmp_path}/state"\n[[notify.hook]]\nname = "pager"\nurl = "{receiver.url}"\n'
            f'secret_file = "{secret_file}"\nca_file = "{certificates.authority}"\n'
            '[[notify.hook]]\nname = "gone"\nurl = "https://127.0.0.1:1/CANARY"\n'
            f'secret_file = "{secret_file}"\n'
        )
        command = ["--config", str(file), "notify", "test"]
        ran = await asyncio.to_thread(CliRunner().invoke, cli, command)
    assert ran.output == "pager: delivered\ngone: the receiver cannot be reached: Connection refused\n"
    assert ran.exit_code == 6
    assert receiver.bodies()[0]["type"] == "station.test"
    assert receiver.is_signed()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
async def test_apprise_is_asked_by_an_address_in_a_file_and_its_failure_tells_nothing(
    tmp_path: Path, clock: Ticking, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("apprise", reason="apprise, an extra, is not installed")
    file = tmp_path / "url"
    file.touch(0o600)
    body = '{"type": "drive.completed", "data": {"station": "hall-2", "summary": "Done.", "drive": "A"}}'
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(one for one in head.lower().split(b"\r\n") if one.startswith(b"content-length"))
        got.append(await reader.readexactly(int(length.partition(b":")[2])))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    file.write_text(f"json://127.0.0.1:{server.sockets[0].getsockname()[1]}/CANARY")
    hook = Hook("chat", url_file=file)
    assert await send(hook, "m", body, clock()) == DELIVERED
    server.close()
    await asyncio.sleep(0.02)
    assert json.loads(got[0])["message"] == "Done.\nstation: hall-2\ndrive: A"
    failed = await send(hook, "m", body, clock())
    assert failed == Outcome(Result.PUT_OFF, "apprise could not deliver it")
    file.write_text("nosuchkind://CANARY")
    assert (await send(hook, "m", body, clock())).result is Result.GIVEN_UP
    assert "CANARY" not in caplog.text
