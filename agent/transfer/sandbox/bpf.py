"""Compiles a policy to the classic BPF program that seccomp(2) runs before each system call.

Sources: linux/seccomp.h (struct seccomp_data: nr at 0, arch at 4, instruction pointer at 8, arguments
of 64 bits from 16 on, little-endian here) and linux/bpf_common.h (opcodes).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from agent.transfer.sandbox.machine import Machine
from agent.transfer.sandbox.policy import Check, Masked, OneOf, Policy, Rule

ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, AND, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
NUMBER_AT, ARCH_AT, ARGUMENTS_AT = 0, 4, 16
_ENOSYS = 38


@dataclass(frozen=True, slots=True)
class Instruction:
    """``struct sock_filter``: a jump skips ``yes`` or ``no`` instructions."""

    code: int
    k: int
    yes: int = 0
    no: int = 0

    def packed(self) -> bytes:
        """As the kernel takes it."""
        return struct.pack("=HBBI", self.code, self.yes, self.no, self.k)


Program = tuple[Instruction, ...]


def compile_policy(policy: Policy, machine: Machine) -> Program:
    """The program that enforces ``policy`` on ``machine``; calls that it does not have are left out."""
    return (*_guard(machine), *_rules(policy, machine), _return(ERRNO | policy.refusal))


def allowed_calls(policy: Policy, machine: Machine) -> int:
    """How many system calls can be made at all."""
    return sum(machine.number(rule.call) is not None for rule in policy.rules)


def _guard(machine: Machine) -> Iterator[Instruction]:
    """Calls of another architecture have other numbers; they end the process."""
    yield Instruction(LOAD, ARCH_AT)
    yield Instruction(JUMP_IF_EQUAL, machine.audit_arch, yes=1)
    yield _return(KILL_PROCESS)
    yield Instruction(LOAD, NUMBER_AT)
    if machine.foreign_from is not None:
        yield Instruction(JUMP_IF_AT_LEAST, machine.foreign_from, no=1)
        yield _return(KILL_PROCESS)


def _rules(policy: Policy, machine: Machine) -> Iterator[Instruction]:
    for rule in policy.rules:
        yield from _case(machine, rule.call, _body(rule, policy))
    for call in policy.kill:
        yield from _case(machine, call, [_return(KILL_PROCESS)])
    for call in policy.missing:
        yield from _case(machine, call, [_return(ERRNO | _ENOSYS)])


def _case(machine: Machine, call: str, body: list[Instruction]) -> Iterator[Instruction]:
    """``body`` returns, so the number of the call need not outlive it."""
    number = machine.number(call)
    if number is not None:
        yield Instruction(JUMP_IF_EQUAL, number, no=len(body))
        yield from body


def _body(rule: Rule, policy: Policy) -> list[Instruction]:
    refuse = _return(ERRNO | policy.refusal)
    body = [part for check in rule.checks for part in _check(check, refuse)]
    return [*body, _return(ALLOW)]


def _check(check: Check, refuse: Instruction) -> Iterator[Instruction]:
    """Falls through when the check holds."""
    low = Instruction(LOAD, ARGUMENTS_AT + 8 * check.argument)
    yield low
    if isinstance(check, Masked):
        yield Instruction(AND, check.mask)
        yield Instruction(JUMP_IF_EQUAL, check.value, yes=1)
    elif isinstance(check, OneOf):
        for left, value in zip(range(len(check.values), 0, -1), check.values, strict=True):
            yield Instruction(JUMP_IF_EQUAL, value, yes=left)
    else:
        yield Instruction(JUMP_IF_EQUAL, 0, no=2)
        yield Instruction(LOAD, low.k + 4)
        yield Instruction(JUMP_IF_EQUAL, 0, yes=1)
    yield refuse


def _return(value: int) -> Instruction:
    return Instruction(RETURN, value)
