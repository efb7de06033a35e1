"""How the end of a worker process is told."""

from __future__ import annotations

import os
import signal

import pytest

from agent.transfer.endings import ending, last_words

KEY = "440649-115929-611083-001782-203720-474661-306966-130438"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (
            signal.SIGSYS,
            "signal 31 (SIGSYS): it asked the kernel for what its sandbox forbids; keep the drive",
        ),
        (
            signal.SIGKILL,
            "signal 9 (SIGKILL): it was killed from outside, or by the kernel for want of memory",
        ),
        (signal.SIGXCPU, "signal 24 (SIGXCPU): it used more CPU time than a drive of this size may"),
        (signal.SIGPROF, "signal 27 (SIGPROF): it worked on one request for longer than any may"),
        (signal.SIGSEGV, "signal 11 (SIGSEGV): it crashed; what is on the drive may be damaged or hostile"),
        (signal.SIGABRT, "signal 6 (SIGABRT): it crashed"),
        (signal.SIGTERM, "signal 15 (SIGTERM): it was ended from outside"),
        (40, "signal 40 (without a name): it was ended from outside"),
    ],
)
def test_a_signal_is_named_and_explained(number: int, words: str) -> None:
    assert ending(-number, "").startswith(words)
    assert ending(-number, "a line").endswith("; it said last: a line")


@pytest.mark.parametrize(
    ("code", "last_line", "told"),
    [
        (0, "", ""),
        (0, "a line", "a line"),
        (1, "a line", "a line"),
        (3, "", "exit code 3, without a word"),
    ],
)
def test_an_exit_is_told_by_what_was_said_last(code: int, last_line: str, told: str) -> None:
    assert ending(code, last_line) == told


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001 - to look at it
        return raised


@pytest.mark.parametrize("error", [ValueError(KEY), KeyError(KEY), OSError(KEY), UnicodeError(KEY)])
def test_last_words_name_the_kind_and_the_place_and_quote_nothing(error: Exception) -> None:
    said = last_words(_raised(error))
    assert said.startswith(f"a bug of ingest-agent: {type(error).__name__} in {__name__}, line ")
    assert KEY not in said
    assert "\n" not in said


def test_last_words_on_trouble_of_the_system_are_the_system_s() -> None:
    said = last_words(_raised(OSError(28, KEY, KEY)))
    assert said.startswith(f"{os.strerror(28)} (errno 28) in ")
    assert KEY not in said
    assert "more memory than it may have" in last_words(_raised(MemoryError(KEY)))


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert last_words(ValueError(KEY)) == "a bug of ingest-agent: ValueError; report it"
