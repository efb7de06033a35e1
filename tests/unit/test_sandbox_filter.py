"""The system call filter as a program, run for both machines by an interpreter of classic BPF."""

from __future__ import annotations

import errno
import mmap
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.transfer.sandbox.bpf import (
    ALLOW,
    AND,
    ERRNO,
    JUMP_IF_AT_LEAST,
    JUMP_IF_EQUAL,
    KILL_PROCESS,
    LOAD,
    RETURN,
    Program,
    compile_policy,
)
from agent.transfer.sandbox.machine import AARCH64, MACHINES, X86_64, Machine
from agent.transfer.sandbox.numbers import NUMBERS
from agent.transfer.sandbox.policy import policy_for

PID = 4711
POLICY = policy_for(PID)
REFUSE, MISSING = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
PROGRAMS = {machine.name: compile_policy(POLICY, machine) for machine in MACHINES}
MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS of linux/bpf_common.h."""
CLONE_VM, CLONE_THREAD, CLONE_NEWUSER = 0x100, 0x10000, 0x10000000
HIGH = 1 << 32
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def run(program: Program, arch: int, number: int, arguments: Sequence[int] = ()) -> int:
    """What the kernel would answer; a jump outside or an unknown opcode is an IndexError or a failure."""
    data = number.to_bytes(4, "little") + arch.to_bytes(4, "little") + bytes(8)
    data += b"".join(word.to_bytes(8, "little") for word in [*arguments, *[0] * (6 - len(arguments))])
    place = accumulator = 0
    while True:
        step = program[place]
        place += 1
        match step.code:
            case _ if step.code == LOAD:
                accumulator = int.from_bytes(data[step.k : step.k + 4], "little")
            case _ if step.code == AND:
                accumulator &= step.k
            case _ if step.code == JUMP_IF_EQUAL:
                place += step.yes if accumulator == step.k else step.no
            case _ if step.code == JUMP_IF_AT_LEAST:
                place += step.yes if accumulator >= step.k else step.no
            case _ if step.code == RETURN:
                return step.k
            case _:
                raise AssertionError(f"opcode {step.code:#x}")


def answer(machine: Machine, call: str, *arguments: int) -> int:
    number = machine.number(call)
    assert number is not None
    return run(PROGRAMS[machine.name], machine.audit_arch, number, arguments)


both_machines = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)


@both_machines
def test_each_call_is_answered_as_the_policy_says(machine: Machine) -> None:
    for rule in POLICY.rules:
        if machine.number(rule.call) is not None and not rule.checks:
            assert answer(machine, rule.call, *[HIGH - 1] * 6) == ALLOW, rule.call
    for call in POLICY.kill:
        if machine.number(call) is not None:
            assert answer(machine, call) == KILL_PROCESS, call
    assert answer(machine, "clone3") == MISSING


@both_machines
def test_whatever_is_in_no_list_is_refused(machine: Machine) -> None:
    listed = {machine.number(call) for call in NUMBERS}
    program = PROGRAMS[machine.name]
    others = [number for number in range(1000) if number not in listed]
    assert len(others) > 800
    assert {run(program, machine.audit_arch, number) for number in others} == {REFUSE}


@both_machines
@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("mmap", (0, 4096, mmap.PROT_READ | mmap.PROT_WRITE), ALLOW),
        ("mmap", (0, 4096, mmap.PROT_READ | mmap.PROT_EXEC), REFUSE),
        ("mmap", (0, 4096, mmap.PROT_EXEC | HIGH), REFUSE),
        ("mprotect", (0, 4096, mmap.PROT_READ), ALLOW),
        ("mprotect", (0, 4096, mmap.PROT_EXEC), REFUSE),
        ("clone", (CLONE_VM | CLONE_THREAD,), ALLOW),
        ("clone", (signal.SIGCHLD,), REFUSE),
        ("clone", (CLONE_VM,), REFUSE),
        ("clone", (CLONE_THREAD | CLONE_NEWUSER,), REFUSE),
        ("sendto", (3, 1, 1, 0, 0, 0), ALLOW),
        ("sendto", (3, 1, 1, 0, 0x7FFF0000, 16), REFUSE),
        ("sendto", (3, 1, 1, 0, HIGH, 16), REFUSE),
        ("tgkill", (PID, 5, 6), ALLOW),
        ("tgkill", (PID + 1, 5, 6), REFUSE),
        ("prlimit64", (0, 7, 0, 0x1000), ALLOW),
        ("prlimit64", (PID, 7, 0, 0x1000), ALLOW),
        ("prlimit64", (1, 7, 0, 0x1000), REFUSE),
        ("prlimit64", (0, 7, 0x1000, 0), REFUSE),
        ("prlimit64", (0, 7, HIGH, 0), REFUSE),
        ("fcntl", (3, 4, 0x4000), ALLOW),  # F_SETFL
        ("fcntl", (3, 8, 1), REFUSE),  # F_SETOWN: whom to signal
        ("ioctl", (1, 0x5401), ALLOW),  # TCGETS
        ("ioctl", (1, 0x5412), REFUSE),  # TIOCSTI: type into the terminal
        ("ioctl", (1, 0x5412 | HIGH), REFUSE),
        ("newfstatat", (3, 0x1000, 0x2000, 0x1000), ALLOW),  # AT_EMPTY_PATH: fstat
        ("newfstatat", (3, 0x1000, 0x2000, 0), REFUSE),
    ],
)
def test_arguments_decide(machine: Machine, call: str, arguments: tuple[int, ...], expected: int) -> None:
    assert answer(machine, call, *arguments) == expected


@both_machines
def test_calls_of_another_architecture_end_the_process(machine: Machine) -> None:
    i386, arm = 0x40000003, 0x40000028
    other = AARCH64 if machine is X86_64 else X86_64
    for arch in (i386, arm, other.audit_arch):
        for number in (0, 1, 11, 63, 64):
            assert run(PROGRAMS[machine.name], arch, number) == KILL_PROCESS


def test_x32_numbers_end_the_process() -> None:
    for number in (0x40000000, 0x40000001, 0x40000000 | 59, 0xFFFFFFFF):
        assert run(PROGRAMS["x86_64"], X86_64.audit_arch, number) == KILL_PROCESS


@both_machines
def test_the_program_is_one_that_the_kernel_takes(machine: Machine) -> None:
    program = PROGRAMS[machine.name]
    assert len(program) <= MAX_INSTRUCTIONS
    assert program[-1].code == RETURN
    for place, step in enumerate(program):
        assert len(step.packed()) == 8
        assert place + 1 + max(step.yes, step.no) < len(program) or step.code == RETURN


def test_no_call_is_in_two_lists() -> None:
    calls = [rule.call for rule in POLICY.rules] + [*POLICY.kill, *POLICY.missing]
    assert len(calls) == len(set(calls))
    assert set(calls) <= set(NUMBERS)
    assert not {"open", "openat", "openat2", "fork", "vfork", "dup2", "kill", "memfd_create"} & set(calls)


@both_machines
def test_the_numbers_are_those_of_the_kernel_s_headers(machine: Machine) -> None:
    header = HEADERS[machine.name]
    if not header.exists():
        pytest.skip(f"the kernel's headers for {machine.name} are not installed")
    pairs = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text("ascii"))
    numbers = {name: int(number) for name, number in pairs}
    if machine is AARCH64:
        numbers["newfstatat"] = numbers["fstatat"]
    ours = {call: machine.number(call) for call in NUMBERS}
    known = {call: numbers.get(call) for call in ours if call in numbers or ours[call] is None}
    assert len(known) > 120
    assert {call: ours[call] for call in known} == known
