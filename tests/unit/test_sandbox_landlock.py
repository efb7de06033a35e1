"""What is asked of Landlock by kernels of each age."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any

import pytest

from agent.transfer.sandbox import kernel, landlock


class Kernel:
    """A kernel of an ABI, which takes what it knows and nothing more."""

    def __init__(self, abi: int) -> None:
        self.abi = abi
        self.restricted = False
        self.words: list[int] = []

    def syscall(self, number: int, *arguments: Any) -> int:
        if number == 446:
            self.restricted = True
            return 0
        ruleset, size, flags = arguments
        if flags == 1:
            return self.abi
        data = bytes(ruleset)[:size]
        self.words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, size, 8)]
        return os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize(
    ("abi", "words"),
    [
        (1, [(1 << 13) - 1]),
        (2, [(1 << 14) - 1]),
        (3, [(1 << 15) - 1]),
        (4, [(1 << 15) - 1, 3]),
        (5, [(1 << 16) - 1, 3]),
        (6, [(1 << 16) - 1, 3, 3]),
        (7, [(1 << 16) - 1, 3, 3]),
        (99, [(1 << 16) - 1, 3, 3]),
    ],
)
def test_all_that_a_kernel_knows_is_handled_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, abi: int, words: list[int]
) -> None:
    fake = Kernel(abi)
    monkeypatch.setattr(kernel, "syscall", fake.syscall)
    assert landlock.restrict() == f"Landlock ABI {abi}"
    assert fake.words == words
    assert fake.restricted


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSYS, "has no Landlock"), (errno.EOPNOTSUPP, "was switched off")]
)
def test_a_kernel_without_it_is_told_from_one_where_it_is_off(
    monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(kernel, "syscall", refuse)
    with pytest.raises(kernel.Lacking, match=words):
        landlock.restrict()


def test_the_running_kernel_takes_the_whole_structure_of_its_abi() -> None:
    """Creating a ruleset confines nobody; one word too many or a right too many would be refused."""
    try:
        abi = kernel.syscall(444, None, 0, 1)
    except OSError as error:
        pytest.skip(f"this kernel has no Landlock: {error.strerror}")
    rights = 16 if abi >= 5 else 15 if abi >= 3 else 12 + abi
    words = [(1 << rights) - 1] + [3] * (abi >= 4) + [3] * (abi >= 6)
    attribute = ctypes.create_string_buffer(
        b"".join(word.to_bytes(8, "little") for word in words), 8 * len(words)
    )
    os.close(kernel.syscall(444, attribute, 8 * len(words), 0))
