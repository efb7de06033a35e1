"""How the laboratory talks to QEMU and to its guest: lines over sockets, answers by number."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.lab import channel as channels
from tests.lab import qmp as monitors
from tests.lab.channel import Channel
from tests.lab.lines import Lines
from tests.lab.qmp import Qmp, QmpRefused
from tests.lab.trouble import CommandFailed, LabTrouble

SOON_S = 30.0


def _alive() -> None:
    """QEMU runs."""


@contextmanager
def _ends(check_alive: Callable[[], None] = _alive) -> Iterator[tuple[Lines, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield Lines(here, check_alive), there


def _soon() -> float:
    return time.monotonic() + SOON_S


def test_lines_come_whole_however_they_were_cut() -> None:
    with _ends() as (lines, there):
        there.sendall(b"one\ntw")
        assert lines.next(_soon()) == b"one"
        there.sendall(b"o\n\nthree\n")
        assert [lines.next(_soon()) for _ in range(3)] == [b"two", b"", b"three"]


def test_no_line_at_the_deadline_is_trouble() -> None:
    with _ends() as (lines, there):
        there.sendall(b"half")
        with pytest.raises(LabTrouble, match="no answer in time"):
            lines.next(time.monotonic())


def test_an_end_of_qemu_is_told_while_a_line_is_awaited() -> None:
    def dead() -> None:
        raise LabTrouble("QEMU ended with 1")

    with _ends(dead) as (lines, there):
        there.close()
        with pytest.raises(LabTrouble, match="QEMU ended with 1"):
            lines.next(_soon())


def test_what_was_said_before_a_reset_is_forgotten_with_half_a_line() -> None:
    with _ends() as (lines, there):
        there.sendall(b'{"id": 1}\n{"id"')
        assert lines.next(_soon()) == b'{"id": 1}'
        there.sendall(b": 2}\n{")
        lines.drop_pending()
        there.sendall(b'{"hello": "6.1"}\n')
        assert lines.next(_soon()) == b'{"hello": "6.1"}'


def test_a_request_to_the_monitor_is_one_line() -> None:
    line = monitors.request(7, "device_del", {"id": "bay\n1"})
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"execute": "device_del", "id": 7, "arguments": {"id": "bay\n1"}}
    assert "arguments" not in json.loads(monitors.request(1, "stop", {}))


def _monitor(said: bytes) -> tuple[Qmp, socket.socket, socket.socket]:
    here, there = socket.socketpair()
    there.sendall(said)
    return Qmp(Lines(here, _alive)), here, there


def test_an_answer_is_found_among_events_which_are_kept() -> None:
    event = b'{"event": "DEVICE_DELETED", "data": {"device": "bay2", "path": "/x"}}\n'
    qmp, here, there = _monitor(event + b'{"id": 1, "return": {"status": "running"}}\n')
    with here, there:
        assert qmp.execute("query-status", {}, SOON_S) == {"status": "running"}
        assert qmp.wait_event("DEVICE_DELETED", {"device": "bay2"}, SOON_S)["data"]["path"] == "/x"


def test_an_event_of_another_device_is_not_taken_for_ours() -> None:
    other = b'{"event": "DEVICE_DELETED", "data": {"device": "bay1"}}\n'
    qmp, here, there = _monitor(other)
    with here, there, pytest.raises(LabTrouble, match="no answer in time"):
        qmp.wait_event("DEVICE_DELETED", {"device": "bay2"}, 0.0)


def test_a_refusal_of_qemu_is_told_in_its_words() -> None:
    qmp, here, there = _monitor(b'{"id": 1, "error": {"class": "GenericError", "desc": "no hotplugging"}}\n')
    with here, there, pytest.raises(QmpRefused, match="GenericError: no hotplugging"):
        qmp.execute("device_add", {}, SOON_S)


def _guest(there: socket.socket, answers: list[bytes], heard: list[dict[str, object]]) -> threading.Thread:
    """Answers one request after another."""

    def serve() -> None:
        file = there.makefile("rb")
        for each in answers:
            heard.append(json.loads(file.readline()))
            there.sendall(each)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def _asked(answers: list[bytes], ask: Callable[[Channel], object]) -> tuple[object, list[dict[str, object]]]:
    heard: list[dict[str, object]] = []
    with _ends() as (lines, there):
        thread = _guest(there, answers, heard)
        try:
            return ask(Channel(lines)), heard
        finally:
            thread.join()


def test_a_command_that_ended_badly_is_told_with_what_it_said() -> None:
    with pytest.raises(CommandFailed, match=r"(?s)false\nended with 3.*out.*err"):
        _asked(
            [b'{"id": 1, "code": 3, "out": "out", "err": "err"}\n'], lambda ask: ask.run("false", 1).checked()
        )


def test_an_answer_that_came_too_late_is_dropped() -> None:
    late = b'not json\n[]\n{"id": 0, "code": 0, "out": "late"}\n{"id": 1, "code": 0, "out": "ours"}\n'
    done, heard = _asked([late], lambda ask: ask.run("true", 1).out)
    assert done == "ours"
    assert heard == [{"sh": "true", "timeout": 1, "id": 1}]


def test_a_guest_that_boots_anew_instead_of_answering_is_trouble() -> None:
    with pytest.raises(LabTrouble, match="booted anew"):
        _asked([b'{"hello": "6.1"}\n'], lambda ask: ask.run("true", 1))


def test_a_long_file_is_sent_in_pieces_and_an_empty_one_in_one() -> None:
    data = bytes(range(256)) * 4096
    sent = list(channels.pieces("/f", data, 0o600))
    assert len(sent) == 3
    assert [piece["append"] for piece in sent] == [False, True, True]
    assert b"".join(base64.b64decode(str(piece["data"])) for piece in sent) == data
    assert len(list(channels.pieces("/f", b"", 0o600))) == 1


def test_a_file_is_fetched_byte_for_byte() -> None:
    said = json.dumps({"id": 1, "code": 0, "data": base64.b64encode(b"\0\xff\n").decode()}).encode() + b"\n"
    assert _asked([said], lambda ask: ask.get("/f"))[0] == b"\0\xff\n"


def test_a_file_that_is_not_there_is_trouble() -> None:
    with pytest.raises(CommandFailed, match="get /f: no such file"):
        _asked([b'{"id": 1, "code": 125, "err": "no such file"}\n'], lambda ask: ask.get("/f"))
