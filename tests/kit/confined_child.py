"""A child process that confines itself and then tries something: what a test of the sandbox looks at.

    python -m tests.kit.confined_child WALLS ATTEMPT [ARGUMENT]

WALLS is ``all``, or ``seccomp`` or ``landlock`` for that one alone. What came of the attempt goes to
standard output as one line of JSON: ``done`` with a value, or ``refused`` with the name of the errno.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import mmap
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from agent.transfer import confined
from agent.transfer.sandbox import enter, kernel, landlock, limits, seccomp
from agent.transfer.sandbox.machine import this_machine
from agent.transfer.sandbox.policy import policy_of_this_process

MIB = 1 << 20
MEMORY_BYTES = 256 * MIB
CPU_S = 1
FILE_BYTES = 1 * MIB
PTRACE_TRACEME = 0
TIOCSTI = 0x5412

Attempt = Callable[[], Any]
Made = Callable[[str], Attempt]
"""Opens what it needs before the walls go up, and gives what is tried behind them."""

ATTEMPTS: dict[str, Made] = {}


def attempt(make: Made) -> Made:
    ATTEMPTS[make.__name__] = make
    return make


def call(name: str, *arguments: Any) -> int:
    """A system call by the name that it has in the filter's tables."""
    number = this_machine().number(name)
    assert number is not None
    return kernel.syscall(number, *arguments)


@attempt
def nothing(_: str) -> Attempt:
    return lambda: None


@attempt
def open_for_reading(path: str) -> Attempt:
    return lambda: os.open(path, os.O_RDONLY)


@attempt
def open_for_writing(path: str) -> Attempt:
    return lambda: os.open(path, os.O_WRONLY | os.O_CREAT)


@attempt
def reopen_the_device_for_writing(path: str) -> Attempt:
    fd = os.open(path, os.O_RDONLY)
    return lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR)


@attempt
def write_to_the_device(path: str) -> Attempt:
    fd = os.open(path, os.O_RDONLY)
    return lambda: os.pwrite(fd, b"x", 0)


@attempt
def map_the_device_for_writing(path: str) -> Attempt:
    fd = os.open(path, os.O_RDONLY)
    return lambda: call("mmap", 0, 4096, mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)


@attempt
def open_own_memory(_: str) -> Attempt:
    return lambda: os.open("/proc/self/mem", os.O_RDWR)


@attempt
def make_a_folder(path: str) -> Attempt:
    return lambda: os.mkdir(path)


@attempt
def remove_a_file(path: str) -> Attempt:
    return lambda: os.unlink(path)


@attempt
def rename_a_file(path: str) -> Attempt:
    return lambda: os.rename(path, path + ".new")


@attempt
def shorten_a_file(path: str) -> Attempt:
    return lambda: os.truncate(path, 0)


@attempt
def list_a_folder(path: str) -> Attempt:
    return lambda: os.listdir(os.path.dirname(path))


@attempt
def look_at_a_file(path: str) -> Attempt:
    return lambda: os.stat(path).st_size


@attempt
def make_a_socket(_: str) -> Attempt:
    return lambda: socket.socket().fileno()


@attempt
def connect_a_socket(port: str) -> Attempt:
    sock = socket.socket()
    return lambda: sock.connect(("127.0.0.1", int(port)))


@attempt
def bind_a_socket(_: str) -> Attempt:
    sock = socket.socket()
    return lambda: sock.bind(("127.0.0.1", 0))


@attempt
def send_a_datagram(port: str) -> Attempt:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return lambda: sock.sendto(b"secret", ("127.0.0.1", int(port)))


@attempt
def connect_to_an_abstract_socket(name: str) -> Attempt:
    sock = socket.socket(socket.AF_UNIX)
    return lambda: sock.connect("\0" + name)


@attempt
def receive_a_descriptor(_: str) -> Attempt:
    ours, theirs = socket.socketpair()
    socket.send_fds(theirs, [b"x"], [0])
    return lambda: socket.recv_fds(ours, 1, 1)[1]


@attempt
def start_a_program(_: str) -> Attempt:
    return lambda: os.execv(sys.executable, [sys.executable, "-c", "print('out')"])


@attempt
def fork(_: str) -> Attempt:
    def run() -> str:
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
        return "forked"

    return run


@attempt
def be_traced(_: str) -> Attempt:
    return lambda: call("ptrace", PTRACE_TRACEME, 0, 0, 0)


@attempt
def make_a_thread_by_clone3(_: str) -> Attempt:
    return lambda: call("clone3", 0, 0)


@attempt
def call_by_an_x32_number(_: str) -> Attempt:
    return lambda: kernel.syscall(0x40000000 | 39)


@attempt
def map_executable_memory(_: str) -> Attempt:
    return lambda: bool(mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))


@attempt
def make_memory_executable(_: str) -> Attempt:
    area = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    return lambda: call("mprotect", address, 4096, mmap.PROT_READ | mmap.PROT_EXEC)


@attempt
def type_into_the_terminal(_: str) -> Attempt:
    main, _terminal = os.openpty()
    return lambda: fcntl.ioctl(main, TIOCSTI, b"x")


@attempt
def signal_the_parent(_: str) -> Attempt:
    parent = os.getppid()
    return lambda: os.kill(parent, 0)


@attempt
def have_a_file_in_memory(_: str) -> Attempt:
    return lambda: os.memfd_create("more")


@attempt
def raise_a_limit(_: str) -> Attempt:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (resource.RLIM_INFINITY,) * 2)


@attempt
def allocate(size_bytes: str) -> Attempt:
    return lambda: len(bytearray(int(size_bytes)))


@attempt
def share_memory(size_bytes: str) -> Attempt:
    return lambda: len(mmap.mmap(-1, int(size_bytes)))


@attempt
def compute_for_ever(_: str) -> Attempt:
    def run() -> None:
        while True:
            hashlib.sha256(bytes(MIB)).digest()

    return run


@attempt
def compute_between_messages(rounds: str) -> Attempt:
    """So many rounds of 0.2 s of CPU time, each with a message, where 0.5 s without one is the end."""
    confined.STALL_CPU_S = 0.5
    ours, theirs = socket.socketpair()
    channel, other = confined.WatchedChannel(ours), confined.BlockingChannel(theirs)

    def run() -> str:
        for _ in range(int(rounds)):
            channel.send({"is": "told"})
            other.send({"do": "go on"})
            channel.receive()
            _compute(0.2)
        _compute(2.0 if rounds == "1" else 0.0)
        return "alive"

    return run


def _compute(cpu_s: float) -> None:
    end = time.process_time() + cpu_s
    while time.process_time() < end:
        hashlib.sha256(bytes(MIB)).digest()


@attempt
def write_much(size_bytes: str) -> Attempt:
    scratch = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - outlives the walls

    def run() -> int:
        done = 0
        while done < int(size_bytes):
            done += scratch.write(bytes(64 * 1024))
        return done

    return run


@attempt
def grow_a_file(size_bytes: str) -> Attempt:
    scratch = tempfile.TemporaryFile()  # noqa: SIM115 - outlives the walls
    return lambda: scratch.truncate(int(size_bytes))


@attempt
def every_deadly_call(_: str) -> Attempt:
    """Each in a fork of its own, which confines itself; the names of those that it survived."""

    def dies(name: str) -> bool:
        child = os.fork()
        if not child:
            seccomp_only()
            try:
                call(name, 0, 0, 0, 0, 0, 0)
            finally:
                os._exit(0)
        return os.WIFSIGNALED(status := os.waitpid(child, 0)[1]) and os.WTERMSIG(status) == signal.SIGSYS

    def run() -> list[object]:
        machine = this_machine()
        names = [name for name in policy_of_this_process().kill if machine.number(name) is not None]
        return [len(names), [name for name in names if not dies(name)]]

    return run


@attempt
def work(path: str) -> Attempt:
    """What a reader does: positioned reads, two threads, a cipher, numbers, a pipe and a scratch file."""
    import numpy as np
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    fd = os.open(path, os.O_RDONLY)
    scratch = tempfile.TemporaryFile()  # noqa: SIM115 - outlives the walls
    receiving, sending = socket.socketpair()
    digests: list[str] = []

    def one(offset: int) -> None:
        buffer = bytearray(MIB)
        got = os.preadv(fd, [buffer], offset)
        words = np.sort(np.frombuffer(buffer, "<u8"))
        context = Cipher(algorithms.AES(bytes(32)), modes.ECB()).decryptor()
        digests.append(hashlib.sha256(context.update(bytes(buffer[:got])) + words.tobytes()).hexdigest())

    def run() -> list[object]:
        threads = [threading.Thread(target=one, args=(0,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        scratch.write(b"spilt")
        scratch.seek(0)
        sending.sendall("wörd".encode("utf-16-le"))
        said = receiving.recv(64).decode("utf-16-le")
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_DIRECT)
        time.sleep(0.001)
        return [len(set(digests)), scratch.read().decode(), said, sys.stdout.isatty()]

    return run


@attempt
def import_a_module(name: str) -> Attempt:
    return lambda: __import__(name).__name__


@attempt
def open_in_an_older_thread(path: str) -> Attempt:
    """By a thread that ran before the walls went up."""
    told, go = [], threading.Event()

    def older() -> None:
        go.wait()
        told.append(_outcome(lambda: os.open(path, os.O_RDONLY)))

    thread = threading.Thread(target=older)
    thread.start()

    def run() -> object:
        go.set()
        thread.join()
        return told[0]

    return run


@attempt
def enter_again(_: str) -> Attempt:
    return lambda: enter(memory_bytes=MEMORY_BYTES, cpu_s=CPU_S, file_bytes=None).sentence


@attempt
def wait_to_be_looked_at(_: str) -> Attempt:
    def run() -> None:
        sys.stdout.write("behind walls\n")
        sys.stdout.flush()
        sys.stdin.read()

    return run


def seccomp_only() -> str:
    limits.forgo_privileges()
    return seccomp.install()


def landlock_only() -> str:
    limits.forgo_privileges()
    return landlock.restrict()


def everything() -> str:
    return enter(
        memory_bytes=MEMORY_BYTES, cpu_s=CPU_S, file_bytes=FILE_BYTES, dies_with_parent=True
    ).sentence


WALLS: dict[str, Callable[[], str]] = {
    "all": everything,
    "seccomp": seccomp_only,
    "landlock": landlock_only,
    "none": lambda: "",
}


def _outcome(trial: Attempt) -> dict[str, object]:
    try:
        return {"done": trial()}
    except OSError as error:
        return {"refused": errno.errorcode.get(error.errno or 0, str(error))}
    except (MemoryError, ImportError, ValueError) as error:
        return {"refused": type(error).__name__}


def main() -> None:
    walls, name, *rest = sys.argv[1:]
    trial = ATTEMPTS[name]("".join(rest))
    sentence = WALLS[walls]()
    print(json.dumps({"sentence": sentence, **_outcome(trial)}))


if __name__ == "__main__":
    main()
