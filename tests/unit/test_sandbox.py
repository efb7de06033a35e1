"""The sandbox, by real processes: each wall alone where there are two, and what still works behind all.

Where the kernel has no Landlock or no filters, what they refuse cannot be tested, and that is said.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.transfer.sandbox import kernel
from tests.kit import confined_child as child

CHECKOUT = Path(__file__).parents[2]
WAIT_S = 60


@dataclass(frozen=True)
class End:
    """How a child ended: by a signal, or with what it said."""

    signal: int | None
    said: dict[str, Any]

    @property
    def refused(self) -> str | None:
        return self.said.get("refused")


def command(walls: str, attempt: str, argument: object = "") -> list[str]:
    return [sys.executable, "-m", "tests.kit.confined_child", walls, attempt, str(argument)]


def run(walls: str, attempt: str, argument: object = "") -> End:
    done = subprocess.run(
        command(walls, attempt, argument), cwd=CHECKOUT, capture_output=True, check=False, timeout=WAIT_S
    )
    if done.returncode < 0:
        return End(-done.returncode, {})
    assert done.returncode == 0, done.stderr.decode()
    return End(None, json.loads(done.stdout))


@pytest.fixture(scope="module", autouse=True)
def _kernel_has_the_walls() -> None:
    said = run("all", "nothing").said["sentence"]
    if "lacking" in said:
        pytest.skip(f"this machine does not have all walls: {said}")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "device.img"
    path.write_bytes(os.urandom(2 * child.MIB))
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def test_what_is_in_force_is_said_in_one_sentence() -> None:
    words = run("all", "nothing").said["sentence"].split(", ")
    assert words[:3] == ["no new privileges", "no core dumps", "ends with its parent"]
    assert any(word.startswith("memory <= ") for word in words)
    assert {"files <= 1 MiB", "descriptors <= 64", "no capabilities"} <= set(words)
    assert words[-2].startswith("Landlock ABI ")
    assert words[-1].endswith(" system calls)")


NEW_FILE = ["open_for_writing", "make_a_folder"]
OLD_FILE = [
    "open_for_reading",
    "reopen_the_device_for_writing",
    "open_own_memory",
    "remove_a_file",
    "rename_a_file",
    "shorten_a_file",
    "list_a_folder",
]


@pytest.mark.parametrize("attempt", [*NEW_FILE, *OLD_FILE])
@pytest.mark.parametrize(("walls", "refusal"), [("seccomp", "EPERM"), ("landlock", "EACCES")])
def test_nothing_can_be_opened_or_changed_by_a_path(
    file: Path, walls: str, refusal: str, attempt: str
) -> None:
    before = file.read_bytes()
    path = file.with_name("new") if attempt in NEW_FILE else file
    end = run(walls, attempt, path)
    assert end.refused in (refusal, "EXDEV" if attempt == "rename_a_file" else refusal)
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    assert "done" in run("none", attempt, path).said, "it would be refused without walls too"


def test_a_file_s_size_and_times_are_not_told(file: Path) -> None:
    assert run("all", "look_at_a_file", file).refused == "EPERM"


@pytest.mark.parametrize("attempt", ["write_to_the_device", "map_the_device_for_writing"])
def test_a_read_only_descriptor_stays_one(file: Path, attempt: str) -> None:
    before = file.read_bytes()
    assert run("all", attempt, file).refused in ("EBADF", "EACCES")
    assert file.read_bytes() == before


def test_making_a_socket_ends_the_process() -> None:
    assert run("all", "make_a_socket").signal == signal.SIGSYS


def test_connecting_a_socket_that_was_open_ends_the_process(listener: socket.socket) -> None:
    assert run("all", "connect_a_socket", listener.getsockname()[1]).signal == signal.SIGSYS
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_landlock_alone_refuses_to_connect_and_to_bind(listener: socket.socket) -> None:
    assert run("landlock", "connect_a_socket", listener.getsockname()[1]).refused == "EACCES"
    assert run("landlock", "bind_a_socket").refused == "EACCES"
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_datagram_cannot_be_sent_anywhere() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        assert run("all", "send_a_datagram", receiver.getsockname()[1]).refused == "EPERM"
        with pytest.raises(BlockingIOError):
            receiver.recv(16)


def test_landlock_alone_refuses_sockets_and_signals_outside() -> None:
    name = uuid.uuid4().hex
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0" + name)
        server.listen()
        assert run("landlock", "connect_to_an_abstract_socket", name).refused == "EPERM"
    assert run("landlock", "signal_the_parent").refused == "EPERM"


@pytest.mark.parametrize("attempt", ["start_a_program", "be_traced"])
def test_what_only_an_attack_does_ends_the_process(attempt: str) -> None:
    assert run("all", attempt).signal == signal.SIGSYS


def test_every_call_that_only_an_attack_makes_ends_the_process() -> None:
    count, survived = run("none", "every_deadly_call").said["done"]
    assert count > 50
    assert survived == []


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 numbers exist on x86-64 only")
def test_a_call_by_an_x32_number_ends_the_process() -> None:
    assert run("all", "call_by_an_x32_number").signal == signal.SIGSYS


@pytest.mark.parametrize(
    ("attempt", "refusal"),
    [
        ("fork", "EPERM"),
        ("make_a_thread_by_clone3", "ENOSYS"),
        ("map_executable_memory", "EPERM"),
        ("make_memory_executable", "EPERM"),
        ("type_into_the_terminal", "EPERM"),
        ("signal_the_parent", "EPERM"),
        ("have_a_file_in_memory", "EPERM"),
        ("receive_a_descriptor", "EPERM"),
        ("raise_a_limit", "ValueError"),
    ],
)
def test_what_a_library_might_try_is_refused_and_the_process_goes_on(attempt: str, refusal: str) -> None:
    assert run("all", attempt).refused == refusal


@pytest.mark.parametrize("attempt", ["allocate", "share_memory"])
def test_memory_ends_at_its_bound(attempt: str) -> None:
    assert run("all", attempt, child.MEMORY_BYTES + child.MIB).refused in ("MemoryError", "ENOMEM")
    assert run("all", attempt, child.MEMORY_BYTES // 2).said["done"] == child.MEMORY_BYTES // 2


def test_computing_for_ever_ends_the_process_at_its_limit() -> None:
    assert run("all", "compute_for_ever").signal == signal.SIGXCPU


def test_a_reader_that_turns_in_circles_is_ended_and_one_that_answers_is_not() -> None:
    assert run("seccomp", "compute_between_messages", 5).said["done"] == "alive"
    assert run("seccomp", "compute_between_messages", 1).signal == signal.SIGPROF


@pytest.mark.parametrize("attempt", ["write_much", "grow_a_file"])
def test_a_file_ends_at_its_bound(attempt: str) -> None:
    assert run("all", attempt, child.FILE_BYTES).said["done"] == child.FILE_BYTES
    assert run("all", attempt, child.FILE_BYTES + 65536).refused == "EFBIG"


def test_the_work_of_a_reader_goes_on(file: Path) -> None:
    assert run("all", "work", file).said["done"] == [1, "spilt", "wörd", False]


def test_a_module_that_is_imported_too_late_is_merely_not_found() -> None:
    assert run("all", "import_a_module", "sqlite3").refused == "ModuleNotFoundError"
    assert run("all", "import_a_module", "encodings.utf_16").said["done"] == "encodings"


def test_a_thread_that_ran_before_is_filtered_too_and_what_it_escapes_is_said(file: Path) -> None:
    end = run("all", "open_in_an_older_thread", file)
    assert end.said["done"] == {"refused": "EPERM"}
    assert "lacking: Landlock over 1 threads that ran before" in end.said["sentence"]


def test_a_wall_that_the_kernel_refuses_is_said_as_lacking() -> None:
    said = run("all", "enter_again").said["done"]
    in_force, _, lacking = said.partition("; lacking: ")
    assert "seccomp (Operation not permitted)" in lacking
    assert "no capabilities (Operation not permitted)" in lacking
    assert "Landlock (Operation not permitted)" in lacking
    assert in_force == ""


def test_output_is_a_pipe_or_a_file_as_before(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        subprocess.run(command("all", "nothing"), cwd=CHECKOUT, stdout=out, check=True, timeout=WAIT_S)
    assert json.loads((tmp_path / "out").read_bytes())["done"] is None


def test_the_kernel_says_the_same_from_outside() -> None:
    with subprocess.Popen(
        command("all", "wait_to_be_looked_at"), cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"behind walls\n"
        place = Path(f"/proc/{process.pid}")
        status = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines())
        bounds = (place / "limits").read_text()
        process.communicate(b"", WAIT_S)
    assert (status["NoNewPrivs"], status["Seccomp"], status["Seccomp_filters"]) == ("1", "2", "1")
    assert {int(status[kind], 16) for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}
    rows = {row[:26].strip(): row[26:].split()[:2] for row in bounds.splitlines()[1:]}
    assert rows["Max core file size"] == ["0", "0"]
    assert rows["Max open files"] == ["64", "64"]
    assert rows["Max file size"] == [str(child.FILE_BYTES)] * 2
    assert rows["Max address space"][0] == rows["Max address space"][1] != "unlimited"
    assert int(rows["Max cpu time"][0]) < int(rows["Max cpu time"][1])


def test_a_confined_process_ends_with_its_parent() -> None:
    """The child holds the writing end of our pipe for as long as it lives.

    What it waits for is a pipe of ours, which stays open: only its parent's end can end it.
    """
    parent = (
        "import os, subprocess\n"
        f"child = subprocess.Popen({command('all', 'wait_to_be_looked_at')!r}, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=CHECKOUT, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        is_over, _, _ = select.select([process.stderr], [], [], WAIT_S)
        assert is_over
        assert process.stderr.read() == b""
        assert process.wait() == -signal.SIGKILL


def test_a_kernel_without_the_walls_is_named_and_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.transfer.sandbox import landlock, seccomp

    monkeypatch.setattr(landlock, "_CREATE_RULESET", 9999)
    with pytest.raises(kernel.Lacking, match="no Landlock"):
        landlock.restrict()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n", "6", "v", "riscv64")))
    with pytest.raises(kernel.Lacking, match="riscv64"):
        seccomp.install()
